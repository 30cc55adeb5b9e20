package filter

import (
	"fmt"
	"strings"
)

// maxWire is the limit for one rule on the wire (protocol 5.1).
const maxWire = 5120

// Wire returns the rules to send to a server that deletes in directories whose
// scope is s (protocol 5.2). Rules that concern only the sender are left out,
// and with deleteExcluded (--delete-excluded) those that name no side as well;
// so are rules for xattr names, which no deletion looks at.
//
// A dir-merge rule is sent as it is: the server reads such files in the
// directory at the destination that it prunes and in extraneous directories
// below. What s has from merge files of the source follows it as plain rules,
// for a server that is not recursing does not see the files of the directories
// above. Rules that are not inherited (modifier n) need not follow. So the rules
// are right only for content directories whose scope is s, and while the
// destination has the source's merge files, which are copied before pruning. A "!"
// in a merge file of an extraneous directory does not clear what followed.
//
// An error says which rule the protocol version cannot express. The result must
// not be changed.
func (s *Scope) Wire(protocol int, deleteExcluded bool) ([]string, error) {
	w := wire{scope: s, protocol: protocol, deleteExcluded: deleteExcluded}
	if err := w.add(s.shared.rules); err != nil {
		return nil, err
	}
	return w.out, nil
}

type wire struct {
	scope          *Scope
	protocol       int
	deleteExcluded bool
	out            []string
}

func (w *wire) add(rules []*rule) error {
	for _, r := range rules {
		if !w.needed(r) {
			continue
		}
		text, err := w.format(r)
		if err != nil {
			return err
		}
		w.out = append(w.out, text)
		if r.merge == nil || r.merge.inner.noInherit {
			continue
		}
		for _, m := range w.scope.merges {
			if m.by != r {
				continue
			}
			if err := w.add(m.rules); err != nil {
				return err
			}
		}
	}
	return nil
}

// needed reports whether the receiver has a use for r.
func (w *wire) needed(r *rule) bool {
	switch {
	case r.sides&receiverSide != 0:
		return !r.xattr || r.merge != nil
	case r.sides != 0 || r.xattr && r.merge == nil:
		return false
	case w.deleteExcluded:
		return r.merge != nil && r.merge.inner.style == full // its file may name sides
	}
	return true
}

func (w *wire) format(r *rule) (string, error) {
	text, out := r.text, ""
	if r.merge != nil && r.merge.nested {
		text = r.merge.name
	}
	if r.above {
		return "", fmt.Errorf("filter rule %q, from a file above the source: a server cannot place it;"+
			" write it for the source's own directory", r.text)
	}
	if w.protocol < 29 {
		if r.absolute || r.negate || r.merge != nil {
			return "", fmt.Errorf("filter rule %q: a server of protocol %d does not know such rules, from 29 on they"+
				" exist; leave it out, run without --delete, or update the server's rsync",
				r.prefix(w.protocol)+" "+r.text, w.protocol)
		}
		switch {
		case r.include:
			out = "+ " + text
		case text == "!" || strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "+ "):
			out = "- " + text
		default:
			out = text
		}
	} else {
		out = r.prefix(w.protocol) + " " + text
	}
	if len(out) >= maxWire {
		return "", fmt.Errorf("filter rule %q: it has %d bytes with its directory, a server takes less than %d;"+
			" shorten it", r.text, len(out), maxWire)
	}
	return out, nil
}

// prefix is the name of the rule and its modifiers, in the order in which rsync
// writes them.
func (r *rule) prefix(protocol int) string {
	p := make([]byte, 0, 16)
	switch {
	case r.merge != nil:
		p = append(p, ':')
	case r.include:
		p = append(p, '+')
	default:
		p = append(p, '-')
	}
	flag := func(set bool, c byte) {
		if set {
			p = append(p, c)
		}
	}
	flag(r.absolute, '/')
	flag(r.negate, '!')
	if r.merge != nil {
		in := r.merge.inner
		flag(in.cvs, 'C')
		if !in.cvs {
			flag(in.noInherit, 'n')
			flag(in.wordSplit, 'w')
			flag(in.style == bare && in.include, '+')
			flag(in.style == bare && !in.include, '-')
		}
	}
	flag(r.xattr, 'x')
	flag(r.sides&senderSide != 0, 's')
	flag(r.sides&receiverSide != 0, 'r')
	flag(r.perishable && protocol >= 30, 'p')
	return string(p)
}
