package ssh

import "strings"

// Remedy returns what to do about words of ssh at a login, "" if there is nothing better to say than to look at them.
// batch says that nobody could be asked.
func Remedy(words []string, batch bool) string {
	said := strings.Join(words, "\n")
	for _, r := range remedies {
		if strings.Contains(said, r.words) {
			if batch && r.batch != "" {
				return r.batch
			}
			return r.remedy
		}
	}
	return ""
}

const acceptKey = "log in by hand once, as the user that runs syncd, and compare the host's key; or add it to known_hosts"

// remedies are looked through in order: what comes first says more.
var remedies = []struct{ words, remedy, batch string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED",
		"if that host was set up anew, remove its old key (ssh-keygen -R HOST) and log in by hand once; if not, somebody may be in between", ""},
	{"host key is known for", acceptKey, ""},
	{"Host key verification failed", acceptKey, ""},
	{"Permission denied", "check user and key, and authorized_keys there",
		"check user and key, and authorized_keys there: nobody is asked for a password or passphrase, so the key has to be without one or in an agent"},
	{"Too many authentication failures", "name the key: -e 'ssh -o IdentitiesOnly=yes -i FILE'", ""},
	{"Could not resolve hostname", "check the host's name", ""},
	{"Connection refused", "check host and port (-e 'ssh -p PORT'), and that sshd runs there", ""},
	{"Connection timed out", "check address and firewall", ""},
	{"No route to host", "check address and firewall", ""},
	{"Bad owner or permissions on", "mend the file that it names: it must be yours and not writable by others", ""},
	{"Bad configuration option", "mend the file that it names", ""},
	{"UNPROTECTED PRIVATE KEY FILE", "chmod 600 the key", ""},
}
