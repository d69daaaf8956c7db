package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

var writeVectors = flag.Bool("vectors.write", false, "write testdata/vectors anew from the code")

// vector is one payload and whether it must be accepted.
type vector struct {
	name    string
	comment string
	kind    Type
	expect  string // "ok", or "malformed", "checksum", "version"
	payload []byte
}

// edit returns a copy of m's payload that change has been at.
func edit(m Message, change func(b []byte) []byte) []byte { return change(m.Append(nil)) }

func set(at int, v byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = v; return b }
}

func more(b []byte) []byte { return append(b, 0) }
func less(b []byte) []byte { return b[:len(b)-1] }

// vectors is the list that testdata/vectors is written from.
func vectors() []vector {
	var all []vector
	for i, m := range samples() {
		all = append(all, vector{fmt.Sprintf("%02d-%s", i, strings.ToLower(m.Type().String())), "a good " + m.Type().String(), m.Type(), "ok", m.Append(nil)})
	}
	hello := &Hello{Lowest: 1, Highest: 1, Path: "/srv", Program: "x"}
	welcome := &Welcome{Version: 1, Permissions: MayUpload, Client: "web1", Jobs: []string{"a", "b"}}
	open := &Open{Number: 1, Client: "web1", Job: "default"}
	opened := &Opened{Number: 1, Standing: object.Standing{Seq: 4, Head: id(6), Adopted: []object.Adopted{{}}}}
	held := &Held{Number: 1, Held: []bool{true, false, true}}
	have := &Have{Number: 1, IDs: []object.ID{id(1)}}
	fail := &Error{Code: object.CodeMissing, Detail: "holes", Missing: []object.ID{id(1)}}
	bad := func(name, comment string, m Message, expect string, change func([]byte) []byte) {
		all = append(all, vector{name, comment, m.Type(), expect, edit(m, change)})
	}
	bad("hello-version-0", "lowest version is 0", hello, "malformed", set(1, 0))
	bad("hello-versions-swapped", "lowest version above the highest", hello, "malformed", set(1, 2))
	bad("hello-nul-in-path", "a NUL in the path", hello, "malformed", set(7, 0))
	bad("hello-escape-in-program", "a control character in the program's version", hello, "malformed", set(11, 0x1b))
	bad("hello-trailing", "a byte too many", hello, "malformed", more)
	bad("welcome-version-2", "a version this program does not speak", welcome, "version", set(1, 2))
	bad("welcome-permission", "a permission that does not exist", welcome, "malformed", set(3, 0x10))
	bad("welcome-jobs-order", "jobs not in ascending order", welcome, "malformed", func(b []byte) []byte { b[len(b)-4] = 'c'; return b })
	bad("welcome-jobs-twice", "the same job twice", welcome, "malformed", func(b []byte) []byte { b[len(b)-4] = 'b'; return b })
	bad("open-number-0", "request number 0", open, "malformed", set(3, 0))
	bad("open-upper-case", "upper-case letter in the client name", open, "malformed", set(5, 'W'))
	bad("open-cut", "base cut short", open, "malformed", less)
	bad("opened-flag", "based is neither 0 nor 1", opened, "malformed", set(4+16+16+8+32, 2))
	bad("opened-no-head", "a sequence number without a head", opened, "malformed", func(b []byte) []byte { clear(b[44:76]); return b })
	bad("opened-adopted-cut", "fewer adopted uploads than counted", opened, "malformed", set(4+16+16+8+32+1, 2))
	bad("have-none", "no id at all", have, "malformed", func(b []byte) []byte { return b[:4] })
	bad("have-cut", "the last id is cut", have, "malformed", less)
	bad("held-none", "count 0", held, "malformed", set(5, 0))
	bad("held-stray-bit", "a bit beyond the last id", held, "malformed", set(6, 0x0d))
	bad("held-count", "more ids than bits", held, "malformed", set(5, 9))
	bad("put-checksum", "a bit of the record flipped", &Put{sampleRecord()}, "checksum", func(b []byte) []byte { b[len(b)-9] ^= 1; return b })
	bad("put-cut", "the record is cut", &Put{sampleRecord()}, "malformed", less)
	bad("object-number-0", "request number 0", &Object{1, sampleRecord()}, "malformed", set(3, 0))
	bad("commit-no-sealed", "no sealed part", &Commit{1, sampleManifest(), nil}, "malformed", func(b []byte) []byte { return b })
	bad("commit-length", "manifest length beyond the payload", &Commit{1, sampleManifest(), []byte("sealed")}, "malformed", set(4, 0xff))
	live := &object.Snapshot{Received: 1, Manifest: sampleManifest(), Sealed: []byte("sealed")}
	link := &object.Snapshot{Received: 1, Manifest: sampleManifest(), Flags: object.FlagLeftOut}
	bad("replicate-cut", "the job cut short", &Replicate{Number: 1, Client: "web1", Job: "default"}, "malformed", less)
	bad("replica-link", "a link where a snapshot belongs", &Replica{1, link}, "malformed", func(b []byte) []byte { return b })
	bad("replica-checksum", "a bit of the snapshot flipped", &Replica{1, live}, "checksum", func(b []byte) []byte { b[20] ^= 1; return b })
	bad("push-window-0", "window 0", &Seek{Push: true, Number: 1, Window: 1}, "malformed", set(7, 0))
	bad("snapshots-window", "window beyond 64 MiB", &List{Kind: TypeSnapshots, Number: 1, Window: MaxWindow}, "malformed", set(7, 1))
	bad("keys-window-0", "window 0", &List{Kind: TypeKeys, Number: 1, Window: 1}, "malformed", set(7, 0))
	bad("keys-cut", "window cut short", &List{Kind: TypeKeys, Number: 1, Window: 1}, "malformed", less)
	bad("window-0", "0 bytes more", &Window{1, 1}, "malformed", set(7, 0))
	bad("alive-payload", "Alive with a payload", &Bare{Kind: TypeAlive}, "malformed", more)
	bad("done-long", "Done with a byte too many", &Bare{Kind: TypeDone, Number: 1}, "malformed", more)
	bad("error-utf8", "detail is not UTF-8", fail, "malformed", set(8, 0xff))
	bad("error-missing-code", "missing ids with another code", fail, "malformed", set(5, 1))
	bad("error-count", "more missing ids than there are", fail, "malformed", set(4+2+2+5+1+3, 2))
	bad("error-more-flag", "more is neither 0 nor 1", fail, "malformed", set(4+2+2+5, 2))
	bad("snapshot-checksum", "a bit of the snapshot flipped", &Snapshot{1, &object.Snapshot{Received: 1, Manifest: sampleManifest(), Sealed: []byte("sealed")}}, "checksum",
		func(b []byte) []byte { b[20] ^= 1; return b })
	all = append(all, vector{"unknown-type", "a type that does not exist", 0x7f, "malformed", []byte{1}})
	return all
}

func (v *vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "comment: %s\ntype: %d\nexpect: %s\n\n", v.comment, uint8(v.kind), v.expect)
	for rest := v.payload; len(rest) > 0; {
		n := min(32, len(rest))
		fmt.Fprintf(&b, "%x\n", rest[:n])
		rest = rest[n:]
	}
	return b.Bytes()
}

func readVectors(tb testing.TB) []vector {
	tb.Helper()
	files, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		head, body, ok := strings.Cut(string(text), "\n\n")
		v := vector{name: strings.TrimSuffix(filepath.Base(name), ".txt")}
		var kind uint8
		for _, line := range strings.Split(head, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "comment":
				v.comment = value
			case "type":
				if _, err := fmt.Sscan(value, &kind); err != nil {
					tb.Fatalf("%s: %v", name, err)
				}
			case "expect":
				v.expect = value
			default:
				tb.Fatalf("%s: unknown line %q", name, line)
			}
		}
		v.kind = Type(kind)
		v.payload, err = hex.DecodeString(strings.ReplaceAll(body, "\n", ""))
		if err != nil || !ok {
			tb.Fatalf("%s: bad hex: %v", name, err)
		}
		all = append(all, v)
	}
	return all
}

func TestVectors(t *testing.T) {
	want := vectors()
	if *writeVectors {
		if err := os.MkdirAll("testdata/vectors", 0o755); err != nil {
			t.Fatal(err)
		}
		for _, v := range want {
			if err := os.WriteFile(filepath.Join("testdata/vectors", v.name+".txt"), v.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := readVectors(t)
	if len(got) < len(want) {
		t.Fatalf("testdata/vectors has %d vectors, want at least %d", len(got), len(want))
	}
	for _, v := range got {
		m, err := Unmarshal(v.kind, v.payload)
		if outcome := outcome(err); outcome != v.expect {
			t.Errorf("%s (%s): got %s (%v), want %s", v.name, v.comment, outcome, err, v.expect)
			continue
		}
		if err == nil && !bytes.Equal(m.Append(nil), v.payload) {
			t.Errorf("%s: encodes to %x, want %x", v.name, m.Append(nil), v.payload)
		}
	}
}

func outcome(err error) string {
	switch object.CodeOf(err) {
	case object.CodeVersion:
		return "version"
	}
	switch {
	case err == nil:
		return "ok"
	case strings.Contains(err.Error(), object.ErrChecksum.Error()):
		return "checksum"
	case strings.Contains(err.Error(), object.ErrMalformed.Error()):
		return "malformed"
	}
	return err.Error()
}

// TestHeaderVectors has the frames whose header alone is refused.
func TestHeaderVectors(t *testing.T) {
	for _, c := range []struct {
		name   string
		length uint32
		kind   byte
		ok     bool
	}{
		{"empty Alive", 0, byte(TypeAlive), true},
		{"largest Put", object.MaxRecord, byte(TypePut), true},
		{"Put beyond its limit", object.MaxRecord + 1, byte(TypePut), false},
		{"largest length", 1<<32 - 1, byte(TypePut), false},
		{"Alive with a payload", 1, byte(TypeAlive), false},
		{"unknown type", 0, 0x7f, false},
		{"type 0", 0, 0, false},
	} {
		b := append(binary.BigEndian.AppendUint32(nil, c.length), c.kind)
		if _, err := ReadHeader(bytes.NewReader(b)); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want accepted %v", c.name, err, c.ok)
		}
	}
}
