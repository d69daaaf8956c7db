package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// JSONLine returns v as one line of JSON, line end included. What is not UTF-8
// in strings becomes U+FFFD, and characters that a terminal could take for
// commands are escaped. It panics when v can't be encoded: that is a bug.
func JSONLine(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encoding %T as JSON: %v", v, err))
	}
	line := b.Bytes()
	if !bytes.ContainsFunc(line, harmful) {
		return line
	}
	var safe []byte
	for _, r := range string(line) {
		if harmful(r) {
			safe = fmt.Appendf(safe, `\u%04x`, r) // they only stand inside of strings
		} else {
			safe = utf8.AppendRune(safe, r)
		}
	}
	return safe
}

// harmful reports whether r is a control character that JSON leaves alone (DEL
// and those from U+0080 on), or one that turns the direction of text.
func harmful(r rune) bool {
	return r >= 0x7f && r <= 0x9f || unicode.Is(unicode.Bidi_Control, r)
}
