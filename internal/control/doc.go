// Package control lets an operator ask and steer a running syncd through a unix
// socket: Listen and Server.Run on the side of the service, Ask on the other.
//
// One connection carries one request and one answer, each a line of JSON:
//
//	{"do":"status"}
//	{"do":"set","key":"bwlimit","value":"8M"}
//	{"do":"why","path":"a/b"}
//
//	{"syncd":1,"status":{...}}
//	{"syncd":1,"error":"no such key"}
//
// so that `echo '{"do":"status"}' | socat - /run/syncd/NAME/control.sock` works
// too. The key "syncd" of an answer tells this protocol from others and is its
// version. Keys may be added to any object; none is renamed or gets another
// meaning. A request is at most 64 KiB and an answer at most 16 MiB.
//
// A cutover is answered by many lines: news, and the report at last.
//
//	{"do":"cutover","cutover":{"freeze_hook":"systemctl stop app",...}}
//
//	{"syncd":1,"event":{"state":"draining",...}}
//	{"syncd":1,"report":{"outcome":"done",...}}
//
// The client that asked for it keeps its side of the connection open. When it
// closes that, or is gone, the cutover is given up and the source thawed; up to the
// end of its own side the service goes on to tell how that goes.
//
// Who may open the socket may steer the service: it belongs to the service's
// user and has mode 0600. There is no other check. By a cutover's hooks that means to
// run any command as the user of the service, most often root.
package control

import (
	"path/filepath"
	"strings"
	"time"
)

const (
	version    = 1        // of the protocol, in Answer.Syncd
	maxRequest = 64 << 10 // bytes of a request with its line feed
	maxAnswer  = 16 << 20 // bytes of an answer with its line feed

	// A client that wants something sends it at once; this is for one that was
	// stopped or connected by mistake.
	readTimeout = 5 * time.Second
	// The service's loop answers in milliseconds, also under load. After this
	// long the client is told that it does not.
	handleTimeout = 10 * time.Second
	writeTimeout  = 10 * time.Second

	// askTimeout is longer than all of them, so that the server's words come first.
	askTimeout = 30 * time.Second
)

// SocketName is the name of the control socket in the service's runtime directory.
const SocketName = "control.sock"

// RuntimeDir holds a directory for each instance of syncd@.service.
const RuntimeDir = "/run/syncd"

// DefaultPath is where a service listens that was not told where: in the
// directory that systemd made for it (RuntimeDirectory=). It is "" outside of a unit.
func DefaultPath(getenv func(string) string) string {
	// More than one directory is separated by colons; the first is ours.
	dir, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, SocketName)
}

// Instance is the NAME of syncd@NAME.service whose socket this is, or "".
func Instance(path string) string {
	dir, name := filepath.Split(filepath.Clean(path))
	parent, instance := filepath.Split(filepath.Clean(dir))
	if name != SocketName || filepath.Clean(parent) != RuntimeDir {
		return ""
	}
	return instance
}
