package crypto

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"filippo.io/age"
)

// A row of a paper key holds this many groups of this many characters.
const (
	paperGroup  = 5
	paperGroups = 4
	paperRow    = paperGroup * paperGroups
)

// paperAlphabet is Bech32's. It leaves out 1, b, i and o, so whoever reads one
// of these has misread another, and paperMisread says which.
const paperAlphabet = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"

var paperMisread = strings.NewReplacer(" ", "", "1", "L", "I", "L", "B", "8", "O", "0")

// AppendPaper appends k as a text to print: the secret in short rows with a
// check for each, so that a slip in typing it back is found in its row, and
// the fingerprints of senders, which are lost with the machines otherwise.
// ParseReadKey reads it back.
func (k *ReadKey) AppendPaper(dst []byte, senders []Sender) []byte {
	dst = append(dst, markers[TextPaper].marker...)
	dst = append(dst, '\n')
	dst = appendComment(dst,
		"Whoever reads this sheet reads the backups. Keep it where you keep deeds.",
		"To use it, type it into a file, first line and rows as they stand (spaces,",
		"capitals and lines with # do not matter), and give that file to packnback --key.",
		"fingerprint: "+k.Recipient().Fingerprint())
	for _, s := range senders {
		dst = appendComment(dst, "trusts client "+s.Client+", signing key "+s.Fingerprint())
	}
	dst = appendField(dst, "kind", k.purpose.String())
	for i, identity := range k.identities {
		data := strings.TrimPrefix(identity.String(), secretPrefix)
		for row := 0; len(data) > 0; row++ {
			n := min(paperRow, len(data))
			dst = fmt.Appendf(dst, "%c%d: %s %s\n", 'A'+i, row+1, paperGroupsOf(data[:n]), paperCheck(i, row, data[:n]))
			data = data[n:]
		}
	}
	return dst
}

func paperGroupsOf(row string) string {
	var out strings.Builder
	for i := 0; i < len(row); i += paperGroup {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(row[i:min(i+paperGroup, len(row))])
	}
	return out.String()
}

// paperCheck returns "=" and three characters that depend on the row and its
// place.
func paperCheck(identity, row int, data string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "packnback paper v1\n%d %d %s", identity, row, data))
	out := []byte{'='}
	for _, b := range sum[:3] {
		out = append(out, paperAlphabet[b%32])
	}
	return string(out)
}

// parsePaper reads what AppendPaper wrote and somebody typed.
func parsePaper(text []byte) (*ReadKey, error) {
	fields, err := parseFields(text, TextPaper)
	if err != nil {
		return nil, err
	}
	r := fieldReader{what: "paper key", fields: fields}
	if len(fields) > 0 {
		fields[0].name = strings.ToLower(fields[0].name)
	}
	purpose, err := ParsePurpose(strings.ToLower(r.one("kind")))
	if r.err != nil {
		return nil, r.err
	}
	if err != nil {
		return nil, err
	}
	k := &ReadKey{purpose: purpose}
	for len(r.fields) > 0 {
		if len(k.identities) == maxIdentities {
			r.fail("more than %d keys", maxIdentities)
		}
		k.identities = append(k.identities, r.paperIdentity(len(k.identities)))
		if r.err != nil {
			return nil, r.err
		}
	}
	if len(k.identities) == 0 {
		r.fail("no rows")
	}
	return k, r.err
}

// paperIdentity takes the rows of identity number i.
func (r *fieldReader) paperIdentity(i int) *age.HybridIdentity {
	var data string
	for row := 0; r.err == nil && (row == 0 || (len(r.fields) > 0 && strings.HasPrefix(strings.ToUpper(r.fields[0].name), string(rune('A'+i))))); row++ {
		data += r.paperRow(i, row)
	}
	if r.err != nil {
		return nil
	}
	identity, err := parseIdentity(secretPrefix + data)
	if err != nil {
		r.fail("a row is missing or one too many: %w", err)
	}
	return identity
}

func (r *fieldReader) paperRow(i, row int) string {
	name := fmt.Sprintf("%c%d", 'A'+i, row+1)
	if len(r.fields) > 0 {
		r.fields[0].name = strings.ToUpper(r.fields[0].name)
	}
	s := paperMisread.Replace(strings.ToUpper(r.one(name)))
	data, check, ok := strings.Cut(s, "=")
	if r.err == nil && (!ok || len(data) > paperRow || "="+check != paperCheck(i, row, data)) {
		r.fail("row %s is not what was printed; compare it character by character", name)
	}
	return data
}
