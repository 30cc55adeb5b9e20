package transfer

import (
	"errors"

	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
)

// selects sets up Config.Only.
func (e *Engine) selects() error {
	c := &e.cfg
	if c.Only == nil {
		return nil
	}
	if c.Delete || c.Catalogue != nil || c.Filter != nil && c.Filter.HasMerge() {
		return errors.New("a list of names goes with neither deletions nor a catalogue nor rules in files of the tree")
	}
	e.only = c.Only.Select(e.rootScope.Load())
	return nil
}

// listOptions says what is listed of a directory with these rules.
func (e *Engine) listOptions(scope *filter.Scope) scan.Options {
	o := scan.Options{OneFileSystem: e.cfg.OneFileSystem, Attrs: e.attrs()}
	switch {
	case e.only != nil:
		e.only.Choose(&o)
	case scope != nil:
		o.Skip = scope.Skip
	}
	return o
}

// leads reports whether the directory p is there for the sake of what is below it alone.
func (e *Engine) leads(p string) bool { return e.only != nil && !e.only.Asked(p) }

// bare reports whether p is the root, and not asked for itself.
func (e *Engine) bare(p string) bool { return p == "." && e.leads(p) }
