// Package rsynctest is a test helper: real rsync daemons and a real sshd on loopback, a stand-in for ssh, and a TCP
// relay that counts, delays and breaks.
//
// Everything ends with the test: servers with all the processes they forked, relays with their connections. Tests that
// need what the machine lacks (rsync, sshd, root) are skipped with the reason, and fail where the environment has
// CI=true.
package rsynctest
