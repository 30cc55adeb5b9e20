package transfer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncd/syncd/internal/rsync"
)

// Sessions are asked for different things: some acknowledge, some delete names, some compare by checksum. A server may
// refuse any of it (refuse options), and what it refuses must be known before work has begun, not when the first file
// is renamed. So the first session of a run is asked for all at once. What the operator asked for and the server
// refuses is an error that names the option; what only the engine wants, it can mostly do without.

// An ability is one of the engine's own wishes that it can do without. They are bits of a set.
type ability uint32

const (
	acknowledges ability = 1 << iota // every entry by name
	deletesNames                     // what is gone, one by one
	comparesSums                     // files that are in doubt
	ignoresTimes                     // sends what changed, whatever size and time say
	keepsParts                       // of large files that are cut off
	linksRenamed                     // without -H
	compresses                       // what was asked for, but changes nothing there
)

// abilities says what each one is called, and what its want costs.
var abilities = []struct {
	ability
	options []string // as servers, and we, name it
	loss    string
}{
	{acknowledges, []string{"--remove-source-files"}, "what has arrived is known at the end of each session only, and not for each file"},
	{deletesNames, []string{"--delete-missing-args", "--force"}, "what is gone is deleted by pruning its directory, and what is not kept there cannot be tried"},
	{comparesSums, []string{"--checksum"}, "files in doubt are sent again, as far as they differ, and nothing can be verified"},
	{ignoresTimes, []string{"--ignore-times"}, "changed files are compared by checksum"},
	{keepsParts, []string{"--partial-dir"}, "a large file that is cut off begins anew"},
	{linksRenamed, []string{"--hard-links"}, "renamed files are sent again"},
	{compresses, []string{"--compress", "--new-compress", "--zc"}, "data travels uncompressed"},
}

// lacks reports whether the server was found to refuse this.
func (e *Engine) lacks(a ability) bool { return ability(e.wanting.Load())&a != 0 }

// wants returns what the engine would have beyond what the operator asked for.
func (e *Engine) wants() (w ability) {
	add := func(on bool, a ability) {
		if on && !e.lacks(a) {
			w |= a
		}
	}
	o := &e.session
	follows := e.following
	add(!o.Selective(), acknowledges)
	add(true, deletesNames)
	add(!o.Checksum && (follows || o.HardLinks || e.ledger.store.Load() != nil), comparesSums)
	add(!o.IgnoreTimes && follows, ignoresTimes)
	add(e.cfg.PartialDir == "" && !o.Inplace && !o.AppendVerify, keepsParts)
	add(!o.HardLinks && (follows || e.moves.on) && e.mayEverRelink(), linksRenamed)
	add(o.Compress, compresses)
	return w
}

// wishes makes o those of a session that is asked for all that any session of this run will be asked for.
func (e *Engine) wishes(o *rsync.Options) {
	w := e.wants()
	set := func(to *bool, a ability) { *to = *to || w&a != 0 }
	set(&o.Acks, acknowledges)
	set(&o.DeleteMissing, deletesNames)
	set(&o.Checksum, comparesSums)
	set(&o.IgnoreTimes, ignoresTimes)
	set(&o.HardLinks, linksRenamed)
	if w&keepsParts != 0 {
		o.PartialDir = DefaultPartialDir
	}
	if e.cfg.Delete { // to prune
		o.Existing, o.IgnoreExisting = true, true
	}
	if o.Acks && o.Timeout+e.cfg.Dialer.Timeout == 0 && !e.following {
		o.Timeout = acksSilence
	}
}

// yields goes on without what the server refused, if it can be done without.
func (e *Engine) yields(err error) bool {
	if refusesMissing(err) {
		e.wanting.Store(e.wanting.Load() | uint32(deletesNames))
		e.withoutNames()
		return true
	}
	var refused *rsync.Error
	if !errors.As(err, &refused) || refused.Kind != rsync.KindRefused {
		return false
	}
	op := refused.Op
	if op == "--timeout" && e.session.Timeout+e.cfg.Dialer.Timeout == 0 {
		op = "--remove-source-files" // it is asked for only with that
	}
	for _, a := range abilities {
		if e.wants()&a.ability == 0 || !speaksOf(op, a.options) {
			continue
		}
		without := ability(e.wanting.Load()) | a.ability
		if without&comparesSums != 0 && without&ignoresTimes != 0 {
			return false // then nobody knows how to send what changed behind size and time
		}
		e.wanting.Store(uint32(without))
		switch a.ability {
		case deletesNames:
			e.noMissing.Store(true)
		case compresses:
			e.session.Compress = false
		}
		e.tell.note(fmt.Sprintf("the server takes no %s: %s", refused.Op, a.loss))
		return true
	}
	return false
}

// speaksOf reports whether the words for an option are one of these.
func speaksOf(op string, options []string) bool {
	for _, word := range strings.FieldsFunc(op, func(r rune) bool { return r == ' ' || r == '=' || r == '(' || r == ')' }) {
		for _, option := range options {
			if word == option {
				return true
			}
		}
	}
	return false
}
