package crypto

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// TestManualExample computes every value of the worked example in
// packnback-key(5) and looks for it there.
func TestManualExample(t *testing.T) {
	page, err := os.ReadFile("../man/packnback-key.5")
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.Join(strings.Fields(string(page)), "")
	send := fixedSendKey(t, "restore")
	recipient := send.recipients.restore[0]
	plaintext := []byte("packnback\n")
	id := NewIDs(send).ID(object.KindChunk, nil, plaintext)
	rec := fixedSeal(object.KindChunk, id, nil, payload{CodecRaw, len(plaintext), plaintext})
	class := send.recipients.classFingerprint(object.ClassContent)
	idKey := send.idKey(object.ClassContent)
	chunker := NewIDs(send).ChunkerSecret()
	recipients := send.Recipients()
	text := strings.Fields(string(fixedSendKey(t, "restore", "list").Append(nil)))
	paper := strings.Split(string(fixedReadKey(t, "restore").AppendPaper(nil, nil)), "\n")
	values := []struct{ what, value string }{
		{"check line", "check: " + text[len(text)-1]},
		{"paper rows", strings.Join(paper[len(paper)-4:], "")},
		{"SHA-256 of the recipient", fmt.Sprintf("%x", sha256.Sum256([]byte(recipient.String())))},
		{"length of the recipient", fmt.Sprintf("%d characters", len(recipient.String()))},
		{"recipient's fingerprint", recipient.Fingerprint()},
		{"class fingerprint", fmt.Sprintf("%x", class[:])},
		{"manifest's fingerprint", fmt.Sprintf("%x", recipients[:])},
		{"content id key", fmt.Sprintf("%x", idKey[:])},
		{"chunker secret", fmt.Sprintf("%x", chunker[:])},
		{"signing public key", fmt.Sprintf("%x", send.Sender().Signer)},
		{"signer's fingerprint", send.Sender().Fingerprint()},
		{"id", id.String()},
		{"associated data", fmt.Sprintf("%x", object.AppendHeader(nil, rec.Kind, rec.ID, rec.Key, nil, len(rec.Sealed)))},
		{"sealed bytes", fmt.Sprintf("%x", rec.Sealed)},
		{"length of the sealed bytes", fmt.Sprintf("= %d bytes", len(rec.Sealed))},
	}
	for _, n := range []int{9, 100, 1000, 65536, 65537, 1<<20 + 9, 8<<20 + 9} {
		values = append(values, struct{ what, value string }{
			"padding", fmt.Sprintf(".It %s Ta %s Ta", thousands(n), thousands(Padme(n))),
		})
	}
	for _, c := range values {
		if !strings.Contains(manual, strings.Join(strings.Fields(c.value), "")) {
			t.Errorf("%s: the manual does not show %s", c.what, c.value)
		}
	}
}

// thousands writes n as the manual does.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
