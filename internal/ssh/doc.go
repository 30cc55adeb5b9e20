// Package ssh lets many sessions of a remote shell share one login.
//
// It knows the ssh of OpenSSH by its manual page and runs it: keys, agents, ports, jump hosts and everything else are
// the user's own configuration. A Pool starts a connection master (ControlMaster, ControlPersist) and gives each session
// the options to go through it. Where that cannot be, because the shell is another program, the user shares connections
// himself, or there is no place for a socket, there is no lease, and the session logs in by itself.
//
// A master ends with its Pool; when the process is killed, a short time after its last session. A master that has died,
// or a server that takes no more sessions over one connection (MaxSessions of sshd), costs one more login and nothing
// else: the ssh of a session then logs in by itself.
package ssh
