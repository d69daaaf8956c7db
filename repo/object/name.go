package object

import "fmt"

// MaxName is the largest length of a client or job name in bytes.
const MaxName = 64

// DefaultJob is the job of a backup that names none.
const DefaultJob = "default"

// CheckName reports whether s may name a client or a job: 1 to 64 characters
// out of a-z, 0-9, dot, underscore and hyphen, and neither "." nor "..",
// because names become folder names in the store. what ("client", "job") goes
// into the error.
func CheckName(what, s string) error {
	if len(s) == 0 || len(s) > MaxName || s == "." || s == ".." {
		return fmt.Errorf("%s name %.80q: want 1 to %d characters, not \".\" or \"..\"", what, s, MaxName)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%s name %q: only a-z, 0-9, dot, underscore and hyphen are allowed", what, s)
		}
	}
	return nil
}
