package repo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/internal/vectortest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// TestVectors reads the files of a repository that have formats of their own.
// The parameter "format" says which one a vector is of.
func TestVectors(t *testing.T) {
	vectortest.Run(t, madeVectors(), func(t *testing.T, v *vectortest.Vector) string {
		again, err := roundTrip(v.Params["format"], v.Bytes)
		if err == nil && !bytes.Equal(again, v.Bytes) {
			t.Errorf("encoded again it is\n%x, want\n%x", again, v.Bytes)
		}
		return outcome(err)
	})
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errVersion):
		return "version"
	case errors.Is(err, object.ErrChecksum):
		return "checksum"
	case errors.Is(err, errEmptySession):
		return "empty"
	case errors.Is(err, object.ErrMalformed):
		return "malformed"
	}
	return err.Error()
}

// roundTrip decodes b and encodes what came out.
func roundTrip(format string, b []byte) ([]byte, error) {
	switch format {
	case "config":
		c, err := unmarshalConfig(b)
		if err != nil {
			return nil, err
		}
		return c.append(nil), nil
	case "CURRENT":
		c, err := unmarshalCurrent(b)
		if err != nil {
			return nil, err
		}
		return c.append(nil), nil
	case "head":
		h, err := unmarshalHead(b)
		if err != nil {
			return nil, err
		}
		return h.append(nil), nil
	case "used":
		u, err := unmarshalUsed(b)
		if err != nil {
			return nil, err
		}
		return u.append(nil), nil
	case "pruned":
		p, err := unmarshalPruned(b)
		if err != nil {
			return nil, err
		}
		return p.append(nil), nil
	case "drilled":
		d, err := unmarshalDrilled(b)
		if err != nil {
			return nil, err
		}
		return d.append(nil), nil
	case "session":
		return roundTripSession(b)
	}
	return nil, errors.New("no such format")
}

// roundTripSession encodes the header and each record of a session file again.
// What follows the last whole record is not part of it.
func roundTripSession(b []byte) ([]byte, error) {
	s, err := unmarshalSession(b)
	if err != nil {
		return nil, err
	}
	again := s.sessionHeader.append(nil)
	sum := binary.BigEndian.Uint64(again[len(again)-8:])
	for at := len(again); ; {
		typ, payload, next, ok := nextRecord(b[at:], sum)
		if !ok {
			return append(again, b[at:]...), nil
		}
		at += sessionRecordSize + len(payload)
		again, sum = appendRecord(again, sum, typ, payload)
		if sum != next {
			return nil, errors.New("checksums differ")
		}
	}
}

func bytesID(first byte) (id object.ID) {
	for i := range id {
		id[i] = first + byte(i)
	}
	return id
}

var vectorRepository = object.RepositoryID{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func vectorCurrent() *current {
	return &current{
		repository: vectorRepository, generation: 7, time: 1_800_000_000_000_000_000, next: 12,
		lists:     lists{condemned: 9, packs: 10, roots: 11, quarantine: 4},
		published: 1_799_999_999_000_000_000,
		segments:  []segmentRef{{8, 1000, 50000}, {3, 10, 900}},
	}
}

func vectorHead() *head {
	return &head{
		repository: vectorRepository, client: "web1", job: "default",
		seq: 3, id: bytesID(1), next: bytesID(2), signer: [32]byte{5},
		nextVisible: 9, visible: []visibleRef{{2, 100}, {8, 1}}, history: []byte("history"),
	}
}

func vectorSession() (b []byte, header int) {
	h := sessionHeader{
		repository: vectorRepository, id: object.SessionID{1, 2}, machine: machineID{3},
		opened: 1_800_000_000_000_000_000, client: "web1", job: "default",
	}
	b = h.append(nil)
	header = len(b)
	sum := binary.BigEndian.Uint64(b[len(b)-8:])
	packs := []packState{{pack.NewName(h.id, 1), pack.Meta, 4000, 12}, {pack.NewName(h.id, 2), pack.Data, 70000, 3}}
	records := []logRecord{leaseRecord(1 << 20), generationRecord(7, bytesID(9))}
	records = append(records, adoptedRecords(object.Adopted{Session: object.SessionID{4}, Durable: 5}, packs[:1])...)
	records = append(records, checkpointRecords(0, 15, 74000, packs)...)
	records = append(records, committingRecord(bytesID(30)))
	for _, r := range records {
		b, sum = appendRecord(b, sum, r.typ, r.payload)
	}
	return b, header
}

// resummed returns b with its last eight bytes made the right checksum.
func resummed(b []byte) []byte { return appendSum(b[:len(b)-8:len(b)-8], 0) }

func madeVectors() []*vectortest.Vector {
	var all []*vectortest.Vector
	add := func(format, name, expect, comment string, b []byte) {
		all = append(all, &vectortest.Vector{Name: format + "-" + name, Comment: comment, Expect: expect,
			Params: map[string]string{"format": format}, Bytes: b})
	}
	addConfigVectors(func(name, expect, comment string, b []byte) { add("config", name, expect, comment, b) })
	addCurrentVectors(func(name, expect, comment string, b []byte) { add("CURRENT", name, expect, comment, b) })
	addHeadVectors(func(name, expect, comment string, b []byte) { add("head", name, expect, comment, b) })
	addUsedVectors(func(name, expect, comment string, b []byte) { add("used", name, expect, comment, b) })
	addPrunedVectors(func(name, expect, comment string, b []byte) { add("pruned", name, expect, comment, b) })
	addDrilledVectors(func(name, expect, comment string, b []byte) { add("drilled", name, expect, comment, b) })
	addSessionVectors(func(name, expect, comment string, b []byte) { add("session", name, expect, comment, b) })
	return all
}

// appendConfigSum appends the checksum line of a config's other lines.
func appendConfigSum(lines []byte) []byte {
	return fmt.Appendf(lines, "checksum %016x\n", xxhash.Sum64(lines))
}

type addVector func(name, expect, comment string, b []byte)

func addConfigVectors(add addVector) {
	c := &config{id: vectorRepository, settings: map[string]string{}}
	add("plain", "ok", "a new repository's", c.append(nil))
	c.settings = map[string]string{"grace": "36h", "policy.web*/*": "keep-daily 7"}
	good := c.append(nil)
	add("settings", "ok", "two settings, one of them a policy", good)
	edit := func(old, new string) []byte {
		b := bytes.Replace(good, []byte(old), []byte(new), 1)
		return appendConfigSum(b[:bytes.LastIndex(b, []byte("checksum "))])
	}
	add("version", "version", "a later version", edit("version 1", "version 2"))
	add("version-zero", "malformed", "a version that never was", edit("version 1", "version 0"))
	add("feature", "version", "a feature that no version has yet", edit("set grace", "feature xyz\nset grace"))
	add("setting", "version", "a setting that no version has yet", edit("set grace", "set graze"))
	add("order", "malformed", "settings out of order", edit("set grace 36h\nset policy.web*/* keep-daily 7", "set policy.web*/* keep-daily 7\nset grace 36h"))
	add("empty-value", "malformed", "a setting without a value", edit("set grace 36h", "set grace "))
	add("id", "malformed", "an id in upper case", edit("id a0", "id A0"))
	add("bit", "checksum", "a changed byte", bytes.Replace(good, []byte("36h"), []byte("37h"), 1))
	add("cut", "malformed", "cut off before the checksum", good[:60])
	add("tail", "checksum", "something behind the checksum", append(bytes.Clone(good), '\n'))
	add("other", "malformed", "some other text", []byte("[core]\n\tbare = true\n"))
}

func addCurrentVectors(add addVector) {
	good := vectorCurrent().append(nil)
	change := func(f func(c *current)) []byte {
		c := vectorCurrent()
		f(c)
		return c.append(nil)
	}
	add("full", "ok", "two segments and all lists a garbage collection has", good)
	add("empty", "ok", "a new repository's", (&current{repository: vectorRepository, generation: 1, next: 1}).append(nil))
	add("version", "version", "a later version", vectortest.With(good, 7, 2))
	add("bit", "checksum", "a changed byte", vectortest.With(good, 40, 0xff))
	add("cut", "checksum", "cut off", good[:len(good)-1])
	add("nothing", "malformed", "no bytes", nil)
	add("count", "malformed", "more segments than bytes", resummed(vectortest.With(good, 96+3, 3)))
	add("twice", "malformed", "a segment that is listed twice", change(func(c *current) { c.segments[1].number = 8 }))
	add("number", "malformed", "a segment whose number was not given out", change(func(c *current) { c.segments[1].number = 12 }))
	add("rows", "malformed", "a segment without rows", change(func(c *current) { c.segments[1].rows = 0 }))
	add("both", "malformed", "a condemned and a deleting list", change(func(c *current) { c.lists.deleting = 5 }))
	add("alone", "malformed", "a condemned list without I0 and R3", change(func(c *current) { c.lists.packs, c.lists.roots = 0, 0 }))
}

func addHeadVectors(add addVector) {
	good := vectorHead().append(nil)
	change := func(f func(h *head)) []byte {
		h := vectorHead()
		f(h)
		return h.append(nil)
	}
	add("full", "ok", "a head while a snapshot is published", good)
	add("first", "ok", "before the first commit", (&head{repository: vectorRepository, client: "a", job: "b", nextVisible: 1}).append(nil))
	add("version", "version", "a later version", vectortest.With(good, 7, 2))
	add("bit", "checksum", "a changed byte", vectortest.With(good, 50, 0xff))
	add("name", "malformed", "a client that is a path", change(func(h *head) { h.client = "../w" }))
	add("zero", "malformed", "a sequence number without a snapshot", change(func(h *head) { h.id = object.ID{} }))
	add("order", "malformed", "visible sets out of order", change(func(h *head) { h.visible[0].number = 8 }))
	add("history", "malformed", "a history that is too long", change(func(h *head) { h.history = make([]byte, maxHistory+1) }))
}

func addUsedVectors(add addVector) {
	u := &used{repository: vectorRepository, bytes: 1 << 40, settled: []object.SessionID{{1}, {2}}}
	good := u.append(nil)
	add("full", "ok", "two settled sessions", good)
	add("bit", "checksum", "a changed byte", vectortest.With(good, 25, 0xff))
	u.settled = []object.SessionID{{2}, {1}}
	add("order", "malformed", "sessions out of order", u.append(nil))
}

func addPrunedVectors(add addVector) {
	p := &pruned{vectorRepository, 1_800_000_000_000_000_000, 1_800_000_003_000_000_000, 1 << 30}
	good := p.append(nil)
	add("full", "ok", "three seconds, one gibibyte", good)
	add("bit", "checksum", "a changed byte", vectortest.With(good, 44, 0xff))
	add("version", "version", "a later version", resummed(vectortest.With(good, 7, 2)))
	p.ended = -1
	add("before", "malformed", "a time before 1970", p.append(nil))
}

func addDrilledVectors(add addVector) {
	drill := Drill{Snapshot: bytesID(1), Time: 1_800_000_000_000_000_000, Files: 12345, Read: 100, Bytes: 1 << 30, Lost: 2}
	good := (&drilled{vectorRepository, "web1", "default", drill}).append(nil)
	change := func(f func(d *drilled)) []byte {
		d := &drilled{vectorRepository, "web1", "default", drill}
		f(d)
		return d.append(nil)
	}
	add("full", "ok", "a hundred of 12,345 files, of which two were lost", good)
	add("empty", "ok", "a snapshot without files", change(func(d *drilled) { d.Files, d.Read, d.Bytes, d.Lost = 0, 0, 0, 0 }))
	add("bit", "checksum", "a changed byte", vectortest.With(good, 44, 0xff))
	add("version", "version", "a later version", resummed(vectortest.With(good, 7, 2)))
	add("cut", "malformed", "a figure too few", resummed(good[:len(good)-8]))
	add("tail", "malformed", "a byte too many", resummed(append(bytes.Clone(good), 0)))
	add("name", "malformed", "a job that is a path", change(func(d *drilled) { d.job = "a/b" }))
	add("before", "malformed", "a time before 1970", change(func(d *drilled) { d.Time = -1 }))
	add("zero", "malformed", "no snapshot", change(func(d *drilled) { d.Snapshot = object.ID{} }))
	add("more", "malformed", "more files read than there are", change(func(d *drilled) { d.Read = d.Files + 1 }))
}

func addSessionVectors(add addVector) {
	good, n := vectorSession()
	header := good[:n]
	add("full", "ok", "every type of record", good)
	add("torn", "ok", "a record cut off: the log ends before it", good[:len(good)-5])
	add("zeros", "ok", "a page of zeros behind the last record", append(bytes.Clone(good), make([]byte, 4096)...))
	add("header", "ok", "a header alone", header)
	add("cut", "empty", "a header cut off", header[:n-1])
	add("nothing", "empty", "no bytes", nil)
	add("noise", "empty", "a header that is not what was written", vectortest.With(header, 30, 0xee, 0xee))
	add("rot", "checksum", "a header that rotted", vectortest.With(good, 30, 0xee, 0xee))
	add("version", "version", "a later version", resummed(vectortest.With(header, 7, 2)))
	add("copying", "ok", "a session that copies to a replica", resummed(vectortest.With(header, 64, 2)))
	add("sort", "malformed", "a sort of session that no version has yet", resummed(vectortest.With(header, 64, 3)))
	sum := binary.BigEndian.Uint64(header[n-8:])
	unknown, _ := appendRecord(bytes.Clone(header), sum, 99, []byte("?"))
	add("type", "version", "a record of a type that no version has yet", unknown)
	short, _ := appendRecord(bytes.Clone(header), sum, recordLease, []byte("1234567"))
	add("short", "malformed", "a lease of seven bytes", short)
}
