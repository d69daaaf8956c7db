package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

var writeVectors = flag.Bool("vectors.write", false, "write testdata/vectors anew, but for those that age encrypts and that are there")

const vectorDir = "testdata/vectors"

// vector is one file of testdata/vectors: one thing that a reader must accept,
// or one that it must refuse, and how.
type vector struct {
	comment string
	expect  string            // a name of outcomes
	params  map[string]string // type, and what the type needs
	bytes   []byte
}

// outcomes name the errors a vector may expect, the most telling first.
var outcomes = []struct {
	name string
	err  error
}{
	{"ok", nil},
	{"not-recipient", ErrNotRecipient},
	{"auth", ErrAuth},
	{"id", ErrID},
	{"no-key", ErrNoKey},
	{"is-public", ErrIsPublic},
	{"is-send", ErrIsSend},
	{"is-reading", ErrIsReading},
	{"is-encrypted", ErrEncrypted},
	{"not-key", ErrNotKey},
	{"malformed", object.ErrMalformed},
}

func outcome(err error) string {
	for _, o := range outcomes {
		if errors.Is(err, o.err) && (o.err != nil || err == nil) {
			return o.name
		}
	}
	return fmt.Sprintf("untyped error %v", err)
}

func (v *vector) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "comment: %s\nexpect: %s\n", v.comment, v.expect)
	for _, name := range slices.Sorted(maps.Keys(v.params)) {
		dst = fmt.Appendf(dst, "%s: %s\n", name, v.params[name])
	}
	for line := range slices.Chunk([]byte(hex.EncodeToString(v.bytes)), 64) {
		dst = append(append(dst, '\n'), line...)
	}
	return append(dst, '\n')
}

func parseVector(text string) (*vector, error) {
	head, body, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, errors.New("no empty line")
	}
	v := &vector{params: make(map[string]string)}
	for _, line := range strings.Split(head, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			return nil, fmt.Errorf("line %q", line)
		case name == "comment":
			v.comment = value
		case name == "expect":
			v.expect = value
		default:
			v.params[name] = value
		}
	}
	var err error
	v.bytes, err = hex.DecodeString(strings.Join(strings.Fields(body), ""))
	return v, err
}

func (v *vector) class() object.Class {
	if v.params["class"] == "metadata" {
		return object.ClassMetadata
	}
	return object.ClassContent
}

// opener returns an Opener that has the vectors' fixed session key loaded.
func (v *vector) opener(t *testing.T) *Opener {
	o := NewOpener()
	o.insert(fixedKeyID, &keyPayload{v.class(), fixedSession, fixedSendKey(t, "restore").idKey(v.class())})
	return o
}

// run does with the vector's bytes what a reader does.
func (v *vector) run(t *testing.T) error {
	t.Helper()
	switch kind := v.params["type"]; kind {
	case "record": // a record under the fixed key
		rec, err := object.UnmarshalRecord(v.bytes)
		if err != nil {
			t.Fatalf("the record itself is broken: %v", err)
		}
		o := v.opener(t)
		_, _, stored, err := o.Open(rec)
		if err != nil {
			return err
		}
		return o.CheckID(rec, stored)
	case "key-object": // an age file, opened with the key in "reader"
		rec := &object.Record{Kind: object.KindKey, ID: object.HashID(v.bytes), Sealed: v.bytes}
		return NewOpener(fixedReadKey(t, v.params["reader"]).Identities()...).AddKey(rec)
	case "part": // a sealed part of the manifest that fixedManifest returns
		m := fixedManifest(v.bytes)
		if v.params["seq"] == "2" {
			m.Seq, m.Prev = 2, fixedKeyID
		}
		if v.params["hash"] == "other" {
			m.SealedHash = fixedKeyID
		}
		_, err := v.opener(t).OpenPart(m, v.bytes)
		return err
	case "rewrap": // a bundle, opened with the key in "reader"
		return NewOpener(fixedReadKey(t, v.params["reader"]).Identities()...).AddRewrap(v.bytes)
	case "rewrap-table":
		_, err := unmarshalRewrapTable(v.bytes)
		return err
	case "read-key":
		_, err := ParseReadKey(v.bytes)
		return err
	case "send-key":
		_, err := ParseSendKey(v.bytes)
		return err
	case "recipient":
		_, err := ParseRecipient(v.bytes)
		return err
	case "sender":
		_, err := ParseSender(v.bytes)
		return err
	case "group":
		_, err := ParseGroup(v.bytes)
		return err
	default:
		t.Fatalf("unknown type %q", kind)
		return nil
	}
}

// fixedManifest returns the manifest that the vectors' sealed parts belong to.
func fixedManifest(sealed []byte) *object.Manifest {
	return &object.Manifest{
		Repository: object.RepositoryID(fixedKeyID[:16]), Client: "web1", Job: "default", Seq: 1,
		Root: fixedKeyID, MetadataKey: fixedKeyID, SealedHash: object.HashID(sealed),
	}
}

func TestVectors(t *testing.T) {
	if *writeVectors {
		for name, v := range makeVectors(t) {
			file := filepath.Join(vectorDir, name+".txt")
			if _, err := os.Stat(file); err == nil && (v.params["type"] == "key-object" || v.params["type"] == "rewrap") {
				continue // age would encrypt it to other bytes
			}
			if err := os.WriteFile(file, v.append(nil), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(makeVectors(t)); len(names) != want {
		t.Fatalf("got %d vectors, want %d", len(names), want)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parseVector(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(v.append(nil), text) {
				t.Error("the file is not as it would be written")
			}
			if got := outcome(v.run(t)); got != v.expect {
				t.Errorf("%s: got %s, want %s", v.comment, got, v.expect)
			}
		})
	}
}
