package ui

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote returns s as it is when every character of it is printable, and as a
// double-quoted Go string otherwise. File names, host names, tags and the
// other end's messages go through it before they reach a terminal: a name may
// hold escape sequences, line ends, or marks that reverse the text around it.
func Quote(s string) string {
	if plain(s) {
		return s
	}
	return strconv.Quote(s)
}

// QuoteText is Quote for messages: bad characters become escapes in place, and
// the text is not put into quotes.
func QuoteText(s string) string {
	if plain(s) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// plain reports whether s can be shown as it is and can't be mistaken for a
// quoted string. strconv.IsPrint leaves out control characters, bidirectional
// marks, zero-width characters and every space but U+0020.
func plain(s string) bool {
	if strings.HasPrefix(s, `"`) || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !strconv.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
			return false
		}
	}
	return true
}

// ShellWord returns s so that a POSIX shell reads it as one word, for commands
// that people paste.
func ShellWord(s string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%"
	if s != "" && strings.Trim(s, safe) == "" {
		return s
	}
	if !plain(s) {
		return "$" + "'" + strings.ReplaceAll(QuoteText(s), "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
