package authorize

import (
	"fmt"
	"strings"
	"unicode"
)

// Line returns the line of authorized_keys with which key may only run command,
// whose words are taken as they are.
func Line(command []string, key *Key) (string, error) {
	quoted := make([]string, len(command))
	for i, word := range command {
		if strings.ContainsFunc(word, unicode.IsControl) {
			return "", fmt.Errorf("%q has a control character in it, which authorized_keys can't hold", word)
		}
		quoted[i] = quoteForShell(word)
	}
	return fmt.Sprintf(`restrict,command="%s" %s`, quoteForSSHD(strings.Join(quoted, " ")), key), nil
}

// quoteForShell quotes one word for the shell that sshd hands the command to.
func quoteForShell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// quoteForSSHD quotes text for command="...", see sshd(8): a backslash means
// something before a double quote only. The text never ends in a backslash,
// because quoteForShell has put a word with one in quotes.
func quoteForSSHD(text string) string { return strings.ReplaceAll(text, `"`, `\"`) }
