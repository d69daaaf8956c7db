package crypto

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// seed adds the bytes of all vectors of a type and fails when there are none.
func seed(f *testing.F, kind string, from func(v *vector) []byte) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		v, err := parseVector(string(text))
		if err != nil {
			f.Fatal(err)
		}
		if v.params["type"] == kind {
			f.Add(from(v))
			n++
		}
	}
	if n == 0 {
		f.Fatalf("no vectors of type %q to start from", kind)
	}
}

func raw(v *vector) []byte { return v.bytes }

// payloadOf opens a vector's record, as far as it authenticates.
func payloadOf(v *vector) []byte {
	rec, err := object.UnmarshalRecord(v.bytes)
	if err != nil || len(rec.Sealed) < sealOverhead {
		return nil
	}
	associated := object.AppendHeader(nil, rec.Kind, rec.ID, rec.Key, rec.Refs, len(rec.Sealed))
	b, err := newAEAD(&fixedSession).Open(nil, rec.Sealed[:24], rec.Sealed[24:], associated)
	if err != nil {
		return nil
	}
	return b
}

func FuzzPayload(f *testing.F) {
	seed(f, "record", payloadOf)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unmarshalPayload(b)
		if err != nil {
			return
		}
		again := p.seal(newAEAD(&fixedSession), fixedNonce, nil)
		opened, err := newAEAD(&fixedSession).Open(nil, again[:24], again[24:], nil)
		if err != nil || !bytes.Equal(opened, b) {
			t.Fatalf("payload %x is written as %x (%v)", b, opened, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	seed(f, "record", raw)
	o := NewOpener()
	o.insert(fixedKeyID, &keyPayload{class: object.ClassContent, session: fixedSession})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := object.UnmarshalRecord(b)
		if err != nil {
			return
		}
		if _, raw, stored, err := o.Open(rec); err == nil && (raw > object.MaxPlaintext || len(stored) > raw) {
			t.Fatalf("opened to %d stored of %d plaintext bytes", len(stored), raw)
		}
	})
}

func FuzzKeyPayload(f *testing.F) {
	f.Add((&keyPayload{object.ClassContent, fixedSession, fixedSecret}).append(nil))
	f.Add((&keyPayload{object.ClassMetadata, fixedSession, fixedSecret}).append(nil))
	f.Add([]byte(keyMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unmarshalKeyPayload(b)
		if err == nil && !bytes.Equal(p.append(nil), b) {
			t.Fatalf("key payload %x is written as %x", b, p.append(nil))
		}
	})
}

func FuzzKeyObject(f *testing.F) {
	seed(f, "key-object", raw)
	text, err := os.ReadFile("testdata/keys/restore.key")
	if err != nil {
		f.Fatal(err)
	}
	k, err := ParseReadKey(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec := &object.Record{Kind: object.KindKey, ID: object.HashID(b), Sealed: b}
		if err := NewOpener(k.Identities()...).AddKey(rec); strings.HasPrefix(outcome(err), "untyped") {
			t.Fatal(err)
		}
	})
}

func FuzzRewrapTable(f *testing.F) {
	seed(f, "rewrap-table", raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := unmarshalRewrapTable(b)
		if err != nil {
			return
		}
		for i := range len(table.rows) / rewrapRow {
			row := table.row(i)
			p := table.find(object.ID(row))
			if p == nil || !bytes.Equal(p.append(nil)[len(keyMagic):], row[object.IDSize:]) {
				t.Fatalf("row %d is not found as it is", i)
			}
		}
	})
}

// textFuzzer checks that a text that parses is written in a form that parses
// to the same, and that errors never quote a secret.
func textFuzzer[K any](parse func([]byte) (K, error), write func(K) []byte) func(t *testing.T, text []byte) {
	return func(t *testing.T, text []byte) {
		k, err := parse(text)
		if err != nil {
			for _, secret := range []string{secretPrefix + "W7", "8182838485", "0001020304"} {
				if strings.Contains(err.Error(), secret) && !strings.Contains(publicLines(text), secret) {
					t.Fatalf("the error quotes a secret: %s", err)
				}
			}
			return
		}
		canonical := write(k)
		again, err := parse(canonical)
		if err != nil {
			t.Fatalf("%q parses, but not as it is written: %v", text, err)
		}
		if !bytes.Equal(write(again), canonical) {
			t.Fatalf("%q is not written the same twice", text)
		}
	}
}

// publicLines returns the fields of a key's text that are no secret, and may be
// quoted when they are wrong: the fuzzer writes there what it finds in this
// file.
func publicLines(text []byte) string {
	var public strings.Builder
	for line := range strings.Lines(string(text)) {
		switch name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(line)), ":"); name {
		case "client", "created", "kind", "recipient", "restore-recipient", "list-recipient", "fingerprint", "check":
			public.WriteString(line)
		}
	}
	return public.String()
}

func FuzzReadKey(f *testing.F) {
	seed(f, "read-key", raw)
	f.Fuzz(textFuzzer(ParseReadKey, func(k *ReadKey) []byte { return k.Append(nil) }))
}

func FuzzPaper(f *testing.F) {
	seed(f, "read-key", raw)
	f.Fuzz(textFuzzer(ParseReadKey, func(k *ReadKey) []byte { return k.AppendPaper(nil, nil) }))
}

func FuzzSendKey(f *testing.F) {
	seed(f, "send-key", raw)
	f.Fuzz(textFuzzer(ParseSendKey, func(k *SendKey) []byte { return k.Append(nil) }))
}

func FuzzRecipient(f *testing.F) {
	seed(f, "recipient", raw)
	f.Fuzz(textFuzzer(ParseRecipient, func(r Recipient) []byte { return r.AppendText(nil) }))
}

func FuzzSender(f *testing.F) {
	seed(f, "sender", raw)
	f.Fuzz(textFuzzer(ParseSender, func(s Sender) []byte { return s.Append(nil) }))
}

func FuzzGroup(f *testing.F) {
	seed(f, "group", raw)
	f.Fuzz(textFuzzer(ParseGroup, func(g *Group) []byte { return g.Append(nil) }))
}

func FuzzEncryptedKey(f *testing.F) {
	id, err := os.ReadFile("testdata/keys/restore.key")
	if err != nil {
		f.Fatal(err)
	}
	k, err := ParseReadKey(id)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := EncryptKeyText([]byte("text"), k.Recipient().key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, text []byte) {
		NeedsPassphrase(text)
		if b, err := DecryptKeyText(text, k.Identities()...); err == nil && len(b) > MaxKeyText {
			t.Fatalf("decrypted to %d bytes", len(b))
		}
	})
}
