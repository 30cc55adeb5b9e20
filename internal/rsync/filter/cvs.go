package filter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cvsIgnore is what -C excludes before it looks into any file, in rsync's order.
const cvsIgnore = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$" +
	" *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core" +
	" .svn/ .git/ .hg/ .bzr/"

// addCVS adds the built-in list, then the words of $HOME/.cvsignore and of
// $CVSIGNORE. Only the built-in ones are perishable by themselves.
func (b *builder) addCVS(f flags) error {
	builtin := syntax{flags: f, style: bare, cvs: true}
	builtin.perishable = true
	for _, word := range strings.Fields(cvsIgnore) {
		if err := b.add(word, builtin); err != nil {
			return err
		}
	}
	user := syntax{flags: f, style: bare, cvs: true, wordSplit: true, noInherit: true}
	if home := os.Getenv("HOME"); home != "" {
		name := filepath.Join(home, ".cvsignore")
		file, err := os.Open(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read the ignore list of -C: %w; make it readable or set HOME", err)
		}
		if err == nil {
			defer file.Close()
			if err := b.addFile(name, file, user, false); err != nil {
				return err
			}
		}
	}
	return b.addFile("$CVSIGNORE", strings.NewReader(os.Getenv("CVSIGNORE")), user, false)
}
