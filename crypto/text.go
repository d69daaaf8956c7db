package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"filippo.io/age/armor"
	"github.com/packnback/packnback/repo/object"
)

// MaxKeyText is the largest length of a key file in bytes. The largest legal
// send key takes half of it.
const MaxKeyText = 128 << 10

// maxKeyLine is the longest line that a key file may have; recipients take
// about 1,960 bytes.
const maxKeyLine = 4096

// TextKind says which of packnback's key files a text is.
type TextKind uint8

// The kinds of text that Identify tells apart.
const (
	TextUnknown    TextKind = iota
	TextRestoreKey          // secret: restore key
	TextListKey             // secret: list key
	TextSendKey             // secret: send key
	TextGroup               // secret: dedup group file
	TextRecipient           // public part of a restore or list key
	TextSender              // public part of a send key
	TextPaper               // secret: a restore or list key as typed from paper
	TextEncrypted           // any of the above as an armored age file
	TextRewrap              // rewrap bundle
)

// The marker that begins each kind of text, and what people call the kind.
var markers = map[TextKind]struct{ marker, name string }{
	TextUnknown:    {"", "no packnback key"},
	TextRestoreKey: {"packnback restore key v1", "a restore key"},
	TextListKey:    {"packnback list key v1", "a list key"},
	TextSendKey:    {"packnback send key v1", "a send key"},
	TextGroup:      {"packnback dedup group v1", "a dedup group file"},
	TextRecipient:  {"packnback recipient v1", "the public part of a restore or list key"},
	TextSender:     {"packnback sender v1", "the public part of a send key"},
	TextPaper:      {"packnback paper key v1", "a paper key"},
	TextEncrypted:  {armor.Header, "an encrypted key file"},
	TextRewrap:     {rewrapMagic, "a rewrap bundle"},
}

// String returns what people call the kind, with its article.
func (k TextKind) String() string { return markers[k].name }

// Secret reports whether a text of kind k must be readable by its owner only.
// Encrypted ones need not be.
func (k TextKind) Secret() bool {
	switch k {
	case TextRestoreKey, TextListKey, TextSendKey, TextGroup, TextPaper:
		return true
	}
	return false
}

// Identify tells from its first line what kind of key file text is. A text
// without a marker whose first line is an age identity counts as a restore key.
func Identify(text []byte) TextKind {
	if bytes.HasPrefix(text, []byte(rewrapMagic)) {
		return TextRewrap
	}
	for line := range bytes.Lines(text[:min(len(text), MaxKeyText)]) {
		s := strings.TrimSpace(string(line))
		if s == "" {
			continue
		}
		if strings.HasPrefix(s, secretPrefix) {
			return TextRestoreKey
		}
		s = strings.TrimSpace(strings.TrimPrefix(s, "#"))
		for kind, m := range markers {
			if s == m.marker && kind != TextUnknown || kind == TextPaper && strings.EqualFold(s, m.marker) {
				return kind
			}
		}
		return TextUnknown
	}
	return TextUnknown
}

// wrongKind is the error for a text of kind got where want is needed.
func wrongKind(want string, got TextKind, reads bool) error {
	var cause error
	switch got {
	case TextEncrypted:
		cause = ErrEncrypted
	case TextRecipient:
		cause = ErrIsPublic
	case TextSender:
		cause = ErrIsPublic
		if reads {
			cause = fmt.Errorf("%w, and %w", ErrIsPublic, ErrIsSend)
		}
	case TextSendKey:
		cause = ErrIsSend
	case TextRestoreKey, TextListKey, TextPaper:
		cause = ErrIsReading
	case TextGroup:
		cause = ErrIsGroup
	default:
		cause = ErrNotKey
	}
	return fmt.Errorf("%s is needed: %w", want, cause)
}

// field is one "name: value" line.
type field struct{ name, value string }

// parseFields reads the lines of a text of "name: value" fields after its
// marker. Empty lines and comments are skipped, spaces around lines and values
// do not count.
func parseFields(text []byte, kind TextKind) ([]field, error) {
	lines, err := keyLines(text)
	if err != nil {
		return nil, err
	}
	marker := markers[kind].marker
	if len(lines) == 0 || !strings.EqualFold(lines[0], marker) {
		return nil, fmt.Errorf("%w key file: does not begin with %q", object.ErrMalformed, marker)
	}
	fields := make([]field, 0, len(lines)-1)
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%w key file: a line that is neither a comment nor \"name: value\"", object.ErrMalformed)
		}
		fields = append(fields, field{name, strings.TrimSpace(value)})
	}
	return fields, nil
}

// keyLines returns the lines of text that are neither empty nor comments,
// without the spaces around them.
func keyLines(text []byte) ([]string, error) {
	if len(text) > MaxKeyText {
		return nil, fmt.Errorf("%w key file: more than %d bytes", object.ErrMalformed, MaxKeyText)
	}
	var lines []string
	for line := range bytes.Lines(text) {
		if len(line) > maxKeyLine {
			return nil, fmt.Errorf("%w key file: a line of %d bytes", object.ErrMalformed, len(line))
		}
		s := strings.TrimSpace(string(line))
		if s == "" || s[0] == '#' {
			continue
		}
		for i := 0; i < len(s); i++ {
			if s[i] < ' ' || s[i] > '~' {
				return nil, fmt.Errorf("%w key file: byte %#02x, which is not printable ASCII", object.ErrMalformed, s[i])
			}
		}
		lines = append(lines, s)
	}
	return lines, nil
}

// fieldReader takes fields in their fixed order and keeps the first error.
type fieldReader struct {
	what   string
	fields []field
	err    error
}

func (r *fieldReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w "+r.what+": "+format, append([]any{object.ErrMalformed}, args...)...)
	}
}

// one takes the field name, which must be next.
func (r *fieldReader) one(name string) string {
	if r.err != nil {
		return ""
	}
	if len(r.fields) == 0 {
		r.fail("no line %q", name)
		return ""
	}
	f := r.fields[0]
	if f.name != name {
		r.fail("%s where %q is expected", describeName(f.name), name)
		return ""
	}
	r.fields = r.fields[1:]
	return f.value
}

// describeName quotes the name of a field for an error if it is like one: what
// stands before a colon in a mangled file may be a secret.
func describeName(name string) string {
	if len(name) > 20 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "a line of another kind"
	}
	return fmt.Sprintf("line %q", name)
}

// many takes all fields name that are next, limit at most.
func (r *fieldReader) many(name string, limit int) []string {
	var values []string
	for r.err == nil && len(r.fields) > 0 && r.fields[0].name == name {
		if len(values) == limit {
			r.fail("more than %d lines %q", limit, name)
			return nil
		}
		values = append(values, r.one(name))
	}
	return values
}

// key takes a field of 32 bytes in hex. Its value is never part of an error.
func (r *fieldReader) key(name string) (k [KeySize]byte) {
	s := r.one(name)
	if r.err != nil {
		return k
	}
	if len(s) != 2*KeySize || strings.ToLower(s) != s {
		r.fail("%s is not %d lower-case hex digits", name, 2*KeySize)
		return k
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		r.fail("%s is not hex", name)
	}
	return k
}

// recipients takes the fields that name recipients of both purposes.
func (r *fieldReader) recipients() recipientSet {
	var all []Recipient
	for _, p := range [...]Purpose{ForRestore, ForList} {
		for _, s := range r.many(p.String()+"-recipient", MaxRecipients) {
			recipient, err := NewRecipient(p, s)
			if err != nil {
				r.fail("%w", err)
				return recipientSet{}
			}
			all = append(all, recipient)
		}
	}
	if r.err != nil {
		return recipientSet{}
	}
	set, err := newRecipientSet(all)
	if err != nil {
		r.fail("%w", err)
	}
	return set
}

// check takes the last field, which guards the secrets above it against rot
// and slips of an editor: canonical is the text up to it.
func (r *fieldReader) check(canonical func() []byte) {
	s := r.one("check")
	if r.err != nil {
		return
	}
	if r.end(); r.err == nil && s != textCheck(canonical()) {
		r.fail("the check line does not match; the file is damaged, or was edited by hand")
	}
}

// end fails when a field is left.
func (r *fieldReader) end() {
	if r.err == nil && len(r.fields) > 0 {
		r.fail("unexpected: %s", describeName(r.fields[0].name))
	}
}

// textCheck returns the value of the check line of a canonical text without
// its comments: 12 bytes of SHA-256.
func textCheck(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, '\n')
}

func (s *recipientSet) appendFields(dst []byte) []byte {
	for _, r := range s.all() {
		dst = appendField(dst, r.purpose.String()+"-recipient", r.text)
	}
	return dst
}

func appendComment(dst []byte, lines ...string) []byte {
	for _, line := range lines {
		dst = append(dst, "# "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return dst
}
