package transfer

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsync"
)

// harmless are the options of a session that change how a tree is made equal, and not what equal means. A catalogue
// that was written with others of them is as true.
var harmless = map[string]bool{
	"Protocol": true, "WholeFile": true, "Checksum": true, "IgnoreTimes": true, "DryRun": true, "Inplace": true,
	"Delete": true, "DeleteMissing": true, "MaxDelete": true, "Force": true, // the engine's own; Config.Delete counts
	"Acks": true, "Itemize": true, "PartialDir": true, "Timeout": true, "Mkpath": true, "KeepDirlinks": true,
	"Compress": true, "CompressChoice": true, "CompressLevel": true, "Incompressible": true,
	"BlockSize": true, "ChecksumChoice": true, "ChecksumSeed": true,
}

// CatalogueName is the name of the catalogue's directory in a directory of state.
const CatalogueName = "catalogue"

// Remember opens the catalogue in dir for c, which must have its Root, and lets c use it. With recheck nothing in it is
// believed: everything is asked of the destination once more. The caller closes c.Catalogue when the engine has ended.
func (c *Config) Remember(dir string, recheck bool) (catalogue.Opened, error) {
	return c.remember(dir, recheck, false)
}

// Visit is Remember for who only compares: a catalogue that is of something else than c, or of no use, is left as it is, with
// a *catalogue.UnfitError.
func (c *Config) Visit(dir string) (catalogue.Opened, error) { return c.remember(dir, false, true) }

func (c *Config) remember(dir string, recheck, guest bool) (catalogue.Opened, error) {
	id, err := c.identity()
	if err != nil {
		return catalogue.Opened{}, err
	}
	store, opened, err := catalogue.Open(dir, id, catalogue.Options{Log: c.Log, Guest: guest})
	if err != nil {
		return opened, err
	}
	if recheck && !opened.Fresh {
		if err := store.Renew(id); err != nil {
			store.Close()
			return opened, err
		}
	}
	c.Catalogue, c.Distrusted = store, opened.Unclean || recheck
	return opened, nil
}

// identity returns what a catalogue for c is about: source, destination, and every option that changes what is to be at
// the destination. Options that this function does not know count.
func (c *Config) identity() (catalogue.Identity, error) {
	root := c.Root.ID()
	id := catalogue.Identity{
		{"destination", c.Dialer.Dest.String()},
		{"source", fmt.Sprintf("inode %d of file system %x", root.Ino, root.FSID)},
		{"--delete", fmt.Sprint(c.Delete)},
		{"--one-file-system", fmt.Sprint(c.OneFileSystem)},
		{"--modify-window", fmt.Sprint(c.NanosecondsAuto)},
	}
	rules, err := c.ruleText()
	if err != nil {
		return nil, err
	}
	id = append(id, [2]string{"the filter rules", rules})
	options := reflect.ValueOf(c.Session)
	for i := range options.NumField() {
		if name := reflect.TypeFor[rsync.Options]().Field(i).Name; !harmless[name] {
			id = append(id, [2]string{"the option " + name, fmt.Sprint(options.Field(i).Interface())})
		}
	}
	return id, nil
}

// ruleText is the rules as a server would be told them, or, of those that depend on files in the tree, that there are
// such.
func (c *Config) ruleText() (string, error) {
	if c.Filter == nil || c.Filter.Empty() {
		return "", nil
	}
	if c.Filter.HasMerge() {
		return "from files in the tree", nil
	}
	scope, err := c.Filter.Root(nil)
	if err != nil {
		return "", err
	}
	rules, err := scope.Wire(32, false)
	return strings.Join(rules, "\n"), err
}
