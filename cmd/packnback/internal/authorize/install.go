package authorize

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"
)

// AlreadyError says that the key is in authorized_keys with other rights. Sshd
// goes by a key's first line, so a second one would do nothing.
type AlreadyError struct {
	File string
	Line int // counted from 1
}

// Error says where.
func (e *AlreadyError) Error() string {
	return fmt.Sprintf("this key has other rights already, in line %d of %q", e.Line, e.File)
}

// Install adds line, which is for key, to authorized_keys in home's .ssh, which
// it makes if need be. It reports whether it has changed anything: not when the
// very line is there. The file is replaced as a whole, so sshd never sees half
// of it, and two installs at once don't lose each other's line.
func Install(home string, key *Key, line string) (changed bool, err error) {
	dir := filepath.Join(home, ".ssh")
	unlock, err := prepare(dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	file := filepath.Join(dir, "authorized_keys")
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%q is not a plain file; add the line yourself", file)
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	at, same := find(text, key, line)
	switch {
	case same:
		return false, nil
	case at > 0:
		return false, &AlreadyError{file, at}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(append(text, line...), '\n')
	if err := replace(file, text); err != nil {
		return false, fmt.Errorf("writing %q: %w", file, err)
	}
	return true, nil
}

// replace writes file anew, for its owner only whatever its mode was.
func replace(file string, text []byte) error {
	f, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup() // does nothing once the file is in its place
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// prepare makes dir with the modes that sshd insists on, and locks it.
func prepare(dir string) (unlock func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	info, err := d.Stat()
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		err = d.Chmod(info.Mode().Perm() &^ 0o022)
	}
	if err == nil {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("preparing %q: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// find returns the number of the line of text that is for key, 0 when there is
// none, and whether it is line itself.
func find(text []byte, key *Key, line string) (at int, same bool) {
	n := 0
	for l := range strings.Lines(string(text)) {
		n++
		there, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l))
		if err != nil || !bytes.Equal(there.Marshal(), key.key.Marshal()) {
			continue
		}
		return n, strings.TrimSpace(l) == line
	}
	return 0, false
}
