package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// probeName is an extended attribute that the destination's own directory has between two sessions, if it can have one.
const probeName = "user.syncd.probe"

// probe finds out whether the destination's file system has what is asked for: nothing but setting it tells, and a
// source whose first attributes come late must not learn it late. The root is given an attribute and an ACL, which says
// no more than its mode; a second session takes them away.
func (e *Engine) probe(ctx context.Context, root flist.Entry) error {
	with := probing(e.attrs(), &root)
	lacks, words, err := e.tryRoot(ctx, root, &with)
	if err != nil {
		return err
	}
	asked := e.session
	e.session.Xattrs, e.session.ACLs = asked.Xattrs && !lacks.Xattrs, asked.ACLs && !lacks.ACLs
	if e.attrs().Any() {
		_, _, err = e.tryRoot(ctx, root, root.Attrs)
	}
	e.session = asked
	if !lacks.Any() {
		return err
	}
	return &rsync.Error{
		Kind: rsync.KindRefused, Op: optionOf(lacks), Server: e.cfg.Dialer.Dest.String(),
		Hint: "do without it", Err: errors.New("the file system there cannot: " + words),
	}
}

// tryRoot gives the destination's own directory attributes, and returns what it says that it lacks.
func (e *Engine) tryRoot(ctx context.Context, root flist.Entry, as *attr.Attrs) (lacks attr.Which, words string, err error) {
	root.Attrs = as
	b := e.rootBatch(root, version{})
	b.mute = true
	report, err := e.send(ctx, b)
	if err != nil {
		return lacks, "", err
	}
	for _, w := range append(said(report), b.heard...) {
		if l := lacking(w); l.Any() {
			lacks.Xattrs, lacks.ACLs = lacks.Xattrs || l.Xattrs, lacks.ACLs || l.ACLs
			words = cmp.Or(words, w)
		}
	}
	return lacks, words, nil
}

// probing returns what the root has, and of each kind that is asked for at least one.
func probing(w attr.Which, root *flist.Entry) attr.Attrs {
	a := attr.Attrs{Set: root.Attrs.XattrSet(), Access: root.Attrs.ACL(false), Default: root.Attrs.ACL(true)}
	if w.Xattrs {
		at, there := slices.BinarySearchFunc(a.Set, probeName, func(x attr.Xattr, name string) int {
			return strings.Compare(x.Name, name)
		})
		if !there {
			a.Set = slices.Insert(slices.Clone(a.Set), at, attr.New(probeName, []byte{'1'}))
		}
	}
	if w.ACLs && a.Access == nil {
		user, group, other := uint8(root.Mode>>6&7), uint8(root.Mode>>3&7), uint8(root.Mode&7)
		a.Access = &attr.ACL{
			User: user, Group: group, Mask: group, Other: other,
			Names: []attr.ACE{{ID: 0, Perm: group}}, // root may do everything anyway
		}
	}
	return a
}

// said returns what went wrong with the only entry of a session.
func said(r *rsync.Report) []string {
	words := r.Loose
	for i := range r.Results {
		if err := r.Results[i].Err; err != nil {
			words = append(words, err.Error())
		}
	}
	return words
}

// lacking reads, in the words of a server or of the embedded destination, what a file system does not have.
func lacking(words string) attr.Which {
	var w attr.Which
	if strings.Contains(words, "not supported") {
		w.Xattrs = strings.Contains(words, "setxattr") || strings.Contains(words, "set extended attribute")
		w.ACLs = strings.Contains(words, "ACL_TYPE_") || strings.Contains(words, "set ACL") ||
			strings.Contains(words, "set default ACL")
	}
	return w
}

// The options by which servers, and we, speak of them.
const (
	xattrsOption = "--xattrs"
	aclsOption   = "--acls"
)

func optionOf(w attr.Which) string {
	if w.Xattrs {
		return xattrsOption
	}
	return aclsOption
}

// unsupported returns which of extended attributes and ACLs a destination said that it does not have or allow.
func unsupported(err error) attr.Which {
	var e *rsync.Error
	if !errors.As(err, &e) || e.Kind != rsync.KindRefused {
		return attr.Which{}
	}
	return attr.Which{Xattrs: strings.Contains(e.Op, xattrsOption), ACLs: strings.Contains(e.Op, aclsOption)}
}

// hinted names the way round a refusal.
func hinted(err error) error {
	var e *rsync.Error
	if !unsupported(err).Any() || !errors.As(err, &e) {
		return err
	}
	with := *e
	with.Hint += ", or add --ignore-unsupported"
	return &with
}

// without goes on without what the destination does not have.
func (e *Engine) without(w attr.Which, err error) {
	what := "extended attributes are"
	if w.Xattrs {
		e.session.Xattrs = false
	} else {
		e.session.ACLs = false
		what = "ACLs are"
	}
	e.tell.note(fmt.Sprintf("%s not copied: %v", what, err))
	// What is remembered from now on is no word for them, should the destination have them one day.
	if e.ledger.ask(func(s *catalogue.Store) error {
		c := e.cfg
		c.Session.Xattrs, c.Session.ACLs = e.session.Xattrs, e.session.ACLs
		id, err := c.identity()
		if err != nil {
			return err
		}
		return s.Renew(id)
	}) {
		e.ledger.distrusted.Store(true)
	}
}
