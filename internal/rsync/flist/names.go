package flist

import (
	"errors"
	"os/user"
	"strconv"
	"sync"
)

// SystemNames returns the names that this host's user database has. They are remembered: a list asks for the same few
// again and again, and a lookup may go over the network. Safe for concurrent use.
func SystemNames() Names {
	return &systemNames{users: make(map[uint32]string), groups: make(map[uint32]string)}
}

type systemNames struct {
	mu            sync.Mutex
	users, groups map[uint32]string
}

func (n *systemNames) User(id uint32) string {
	return n.name(n.users, id, func(s string) (string, error) {
		u, err := user.LookupId(s)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (n *systemNames) Group(id uint32) string {
	return n.name(n.groups, id, func(s string) (string, error) {
		g, err := user.LookupGroupId(s)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// name looks the id up outside of the lock, so that a slow directory service does not hold up the ids that are known.
func (n *systemNames) name(known map[uint32]string, id uint32, lookup func(string) (string, error)) string {
	n.mu.Lock()
	name, ok := known[id]
	n.mu.Unlock()
	if ok {
		return name
	}
	name, err := lookup(strconv.FormatUint(uint64(id), 10))
	if err != nil && !isUnknown(err) {
		return "" // a failure of the moment: ask again next time
	}
	n.mu.Lock()
	known[id] = name
	n.mu.Unlock()
	return name
}

func isUnknown(err error) bool {
	var u user.UnknownUserIdError
	var g user.UnknownGroupIdError
	return errors.As(err, &u) || errors.As(err, &g)
}
