package crypto

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// makeVectors makes all vectors. Those that age encrypts differ from run to
// run; the committed ones are what counts.
func makeVectors(t *testing.T) map[string]*vector {
	vectors := make(map[string]*vector)
	addRecordVectors(t, vectors)
	addPayloadVectors(t, vectors)
	addKeyObjectVectors(t, vectors)
	addPartVectors(vectors)
	addRewrapVectors(t, vectors)
	addReadKeyVectors(t, vectors)
	addSendKeyVectors(t, vectors)
	return vectors
}

func params(pairs ...string) map[string]string {
	m := make(map[string]string)
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = pair[1]
	}
	return m
}

// example returns the record of the worked example in packnback-key(5).
func example(t *testing.T) *object.Record {
	plaintext := []byte("packnback\n")
	id := NewIDs(fixedSendKey(t, "restore")).ID(object.KindChunk, nil, plaintext)
	return fixedSeal(object.KindChunk, id, nil, payload{CodecRaw, len(plaintext), plaintext})
}

// exampleDir returns a directory with two refs.
func exampleDir(t *testing.T) *object.Record {
	plaintext := []byte("names and times")
	refs := []object.ID{object.HashID([]byte("first")), object.HashID([]byte("second"))}
	id := NewIDs(fixedSendKey(t, "restore")).ID(object.KindDir, refs, plaintext)
	return fixedSeal(object.KindDir, id, refs, payload{CodecRaw, len(plaintext), plaintext})
}

func addRecordVectors(t *testing.T, vectors map[string]*vector) {
	add := func(name, comment, expect, class string, rec *object.Record) {
		vectors["record-"+name] = &vector{comment, expect, params("type", "record", "class", class), rec.Append(nil)}
	}
	add("chunk", "the chunk of the worked example", "ok", "content", example(t))
	add("dir", "a directory with two refs", "ok", "metadata", exampleDir(t))
	add("class", "a chunk sealed under a metadata session key", "auth", "metadata", example(t))

	swapped := exampleDir(t)
	slices.Reverse(swapped.Refs)
	add("refs-swapped", "two refs have changed places", "auth", "metadata", swapped)
	dropped := exampleDir(t)
	dropped.Refs = dropped.Refs[:1]
	add("ref-dropped", "the last ref is gone", "auth", "metadata", dropped)
	kind := exampleDir(t)
	kind.Kind = object.KindList
	add("kind", "a directory that says it is a list", "auth", "metadata", kind)
	id := example(t)
	id.ID[31] ^= 1
	add("other-id", "one bit of the id in the header is flipped", "auth", "content", id)
	key := example(t)
	key.Key[0] ^= 1
	add("other-key", "the record names a key object that nobody has", "no-key", "content", key)
	for name, at := range map[string]int{"nonce": 0, "payload": 24, "tag": -1} {
		rec := example(t)
		if at < 0 {
			at += len(rec.Sealed)
		}
		rec.Sealed[at] ^= 0x80
		add("bit-"+name, "one bit of the "+name+" is flipped", "auth", "content", rec)
	}
	cut := example(t)
	cut.Sealed = cut.Sealed[:len(cut.Sealed)-1]
	add("cut", "the last byte of the sealed bytes is gone", "auth", "content", cut)
	long := example(t)
	long.Sealed = append(long.Sealed, 0)
	add("long", "a byte is added to the sealed bytes", "auth", "content", long)
	short := example(t)
	short.Sealed = short.Sealed[:sealOverhead+payloadHeader-1]
	add("short", "fewer sealed bytes than an empty payload takes", "malformed", "content", short)
	wrong := example(t)
	plaintext := []byte("poisoned!\n")
	wrong = fixedSeal(wrong.Kind, wrong.ID, nil, payload{CodecRaw, len(plaintext), plaintext})
	add("wrong-id", "sealed by one who has the session key, but not what its id says", "id", "content", wrong)
}

// addPayloadVectors seals payloads that only one who has the session key could
// seal: they authenticate, and break the format inside.
func addPayloadVectors(t *testing.T, vectors map[string]*vector) {
	id := example(t).ID
	good := []byte("\x00\x00\x00\x00\x0a\x00\x00\x00\x0apacknback\n\x00")
	add := func(name, comment string, change func(b []byte) []byte) {
		b := change(bytes.Clone(good))
		sealed := len(b) + sealOverhead
		associated := object.AppendHeader(nil, object.KindChunk, id, fixedKeyID, nil, sealed)
		rec := &object.Record{Kind: object.KindChunk, ID: id, Key: fixedKeyID}
		rec.Sealed = newAEAD(&fixedSession).Seal(bytes.Clone(fixedNonce[:]), fixedNonce[:], b, associated)
		vectors["payload-"+name] = &vector{comment, "malformed", params("type", "record", "class", "content"), rec.Append(nil)}
	}
	add("codec", "codec 2", func(b []byte) []byte { b[0] = 2; return b })
	add("raw-length", "codec 0 with a plaintext length unlike the stored one", func(b []byte) []byte { b[4] = 11; return b })
	add("stored-over-raw", "codec 1 that stores more than the plaintext", func(b []byte) []byte { b[0], b[4] = 1, 9; return b })
	add("raw-limit", "codec 1 with a plaintext of 8 MiB and one byte", func(b []byte) []byte {
		b[0] = 1
		binary.BigEndian.PutUint32(b[1:], object.MaxPlaintext+1)
		return b
	})
	add("stored-limit", "stored length 2^32 - 1", func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[1:], 1<<32-1)
		binary.BigEndian.PutUint32(b[5:], 1<<32-1)
		return b
	})
	add("stored-short", "stored length beyond the payload", func(b []byte) []byte { b[4], b[8] = 12, 12; return b })
	add("padding", "the padding is not zero", func(b []byte) []byte { b[len(b)-1] = 1; return b })
	add("unpadded", "no padding where one byte is due", func(b []byte) []byte { return b[:len(b)-1] })
	add("overpadded", "padded to the length after the right one", func(b []byte) []byte { return append(b, 0, 0) })
}

func addKeyObjectVectors(t *testing.T, vectors map[string]*vector) {
	send := fixedSendKey(t, "restore", "restore2", "list")
	metadata := keyPayload{object.ClassMetadata, fixedSession, send.idKey(object.ClassMetadata)}
	content := keyPayload{object.ClassContent, fixedSession, send.idKey(object.ClassContent)}
	wrap := func(b []byte, to ...Recipient) []byte {
		sealed, err := encrypt(b, ageRecipients(to)...)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	add := func(name, comment, expect, reader string, b []byte) {
		vectors["key-"+name] = &vector{comment, expect, params("type", "key-object", "reader", reader), b}
	}
	both := wrap(content.append(nil), send.recipients.restore...)
	add("content", "a content key object", "ok", "restore", both)
	add("second", "the same for the second recipient", "ok", "restore2", both)
	add("content-list", "the same with a list key", "not-recipient", "list", both)
	add("metadata-list", "a metadata key object with a list key", "ok", "list",
		wrap(metadata.append(nil), send.recipients.class(object.ClassMetadata)...))

	to := fixedReadKey(t, "restore").Recipient()
	add("empty", "a key object that carries nothing", "malformed", "restore", wrap(nil, to))
	add("long", "one byte too many", "malformed", "restore", wrap(append(content.append(nil), 0), to))
	add("short", "one byte too few", "malformed", "restore", wrap(content.append(nil)[1:], to))
	version := content.append(nil)
	version[7] = 2
	add("version", "version 2", "malformed", "restore", wrap(version, to))
	class := content
	class.class = 3
	add("class", "class 3", "malformed", "restore", wrap(class.append(nil), to))
	body := wrap(content.append(nil), to)
	body[len(body)-1] ^= 1
	add("bit-body", "one bit of the encrypted body is flipped", "auth", "restore", body)
	mac := wrap(content.append(nil), to)
	mac[bytes.Index(mac, []byte("\n--- "))+6] ^= 1
	add("bit-mac", "one bit of the age header's MAC is flipped", "auth", "restore", mac)
	add("cut", "the age file ends in its header", "malformed", "restore", wrap(content.append(nil), to)[:200])
}

func addPartVectors(vectors map[string]*vector) {
	m := fixedManifest(nil)
	seal := func(p payload) []byte {
		return p.seal(newAEAD(&fixedSession), fixedNonce, partAssociated(m))
	}
	good := seal(payload{CodecRaw, 7, []byte("summary")})
	add := func(name, comment, expect string, b []byte, more ...string) {
		vectors["part-"+name] = &vector{comment, expect, params(append(more, "type", "part", "class", "metadata")...), b}
	}
	add("ok", "the sealed part of a manifest", "ok", good)
	add("seq", "the sealed part of another manifest of the chain", "auth", good, "seq", "2")
	add("hash", "a sealed part that the manifest does not name", "auth", good, "hash", "other")
	add("codec", "a compressed sealed part", "malformed", seal(payload{CodecZstd, 9, []byte("summary")}))
}

func addRewrapVectors(t *testing.T, vectors map[string]*vector) {
	row := func(id byte, class object.Class) []byte {
		b := append(bytes.Repeat([]byte{id}, object.IDSize), byte(class))
		return append(b, make([]byte, 2*KeySize)...)
	}
	table := func(n byte, rows ...[]byte) []byte {
		b := append([]byte(rewrapTableMagic), 0, 0, 0, n)
		return append(b, slices.Concat(rows...)...)
	}
	add := func(name, comment, expect string, b []byte) {
		vectors["rewrap-table-"+name] = &vector{comment, expect, params("type", "rewrap-table"), b}
	}
	good := table(2, row(1, 1), row(2, 2))
	add("ok", "two rows", "ok", good)
	add("empty", "no rows", "malformed", table(0))
	add("order", "rows out of order", "malformed", table(2, row(2, 1), row(1, 1)))
	add("repeat", "one id twice", "malformed", table(2, row(1, 1), row(1, 1)))
	add("class", "class 0", "malformed", table(1, row(1, 0)))
	add("count", "fewer rows than it says", "malformed", table(3, row(1, 1), row(2, 2)))
	add("long", "one byte too many", "malformed", append(table(1, row(1, 1)), 0))

	sealed, err := encrypt(good, fixedReadKey(t, "restore2").Recipient().key)
	if err != nil {
		t.Fatal(err)
	}
	bundle := append([]byte(rewrapMagic), sealed...)
	vectors["rewrap-bundle"] = &vector{"a bundle", "ok", params("type", "rewrap", "reader", "restore2"), bundle}
	vectors["rewrap-other"] = &vector{"a bundle for somebody else", "not-recipient", params("type", "rewrap", "reader", "restore"), bundle}
}

// edit returns text with one replacement, which must apply.
func edit(t *testing.T, text []byte, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(string(text), old) {
		t.Fatalf("no %q in the text", old)
	}
	return []byte(strings.Replace(string(text), old, replacement, 1))
}

func addReadKeyVectors(t *testing.T, vectors map[string]*vector) {
	add := func(kind, name, comment, expect string, b []byte) {
		vectors[kind+"-"+name] = &vector{comment, expect, params("type", kind), b}
	}
	restore, list := keyFixture(t, "restore.key"), keyFixture(t, "list.key")
	k := fixedReadKey(t, "restore")
	identity := string(bytes.TrimSpace(restore[bytes.LastIndex(restore, []byte(secretPrefix)):]))
	add("read-key", "restore", "a restore key", "ok", restore)
	add("read-key", "list", "a list key", "ok", list)
	add("read-key", "bare", "an identity and nothing else", "ok", []byte(identity))
	add("read-key", "crlf", "the same with a carriage return and spaces", "ok", []byte(" "+identity+" \r\n"))
	add("read-key", "checksum", "one character of the identity is wrong", "malformed", edit(t, restore, "-PQ-1W7", "-PQ-1W8"))
	add("read-key", "none", "no identity", "malformed", edit(t, restore, identity, ""))
	add("read-key", "classic", "an identity that is not hybrid", "malformed",
		edit(t, restore, identity, "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"))
	add("read-key", "public-comment", "the public part of another key in the comment, which does not count", "ok",
		edit(t, restore, "public: "+k.Recipient().String(), "public: "+fixedReadKey(t, "restore2").Recipient().String()))
	add("read-key", "created", "a time that is none in the comment, which does not count", "ok", edit(t, restore, "2026-01-31", "2026-02-31"))
	add("read-key", "public", "a public part", "is-public", keyFixture(t, "restore.pub"))
	add("read-key", "send", "a send key", "is-send", fixedSendKey(t, "restore").Append(nil))
	add("read-key", "encrypted", "an encrypted key", "is-encrypted", []byte("-----BEGIN AGE ENCRYPTED FILE-----\n"))
	add("read-key", "other", "another text", "not-key", []byte("hello\n"))
	paper := k.AppendPaper(nil, nil)
	add("read-key", "paper", "a key on paper", "ok", paper)
	add("read-key", "paper-typed", "the same as somebody types it", "ok",
		[]byte(strings.ReplaceAll(strings.ToLower(string(paper)), "a2: ", "a2:  ")))
	add("read-key", "paper-shouted", "the same in capitals", "ok", bytes.ToUpper(paper))
	add("read-key", "paper-misread", "a nought taken for an o, an eight for a b", "ok",
		edit(t, edit(t, paper, "37004", "37oo4"), "8JEUU", "BJEUU"))
	add("read-key", "paper-row", "two characters of a row have changed places", "malformed", edit(t, paper, "W7HLC", "7WHLC"))
	add("read-key", "paper-lost-row", "the last row is missing", "malformed", paper[:bytes.Index(paper, []byte("A3:"))])

	pub := keyFixture(t, "restore.pub")
	add("recipient", "ok", "the public part of a restore key", "ok", pub)
	add("recipient", "fingerprint", "a fingerprint that is not the recipient's", "malformed", edit(t, pub, "82f4", "82f5"))
	add("recipient", "kind", "an unknown kind", "malformed", edit(t, pub, "kind: restore", "kind: both"))
	add("recipient", "relabelled", "a restore recipient that says it only lists", "malformed", edit(t, pub, "kind: restore", "kind: list"))
	add("recipient", "extra", "an unknown line", "malformed", append(bytes.Clone(pub), "x: y\n"...))
	add("recipient", "version", "version 2", "not-key", edit(t, pub, "recipient v1", "recipient v2"))
}

func addSendKeyVectors(t *testing.T, vectors map[string]*vector) {
	add := func(kind, name, comment, expect string, b []byte) {
		vectors[kind+"-"+name] = &vector{comment, expect, params("type", kind), b}
	}
	k := fixedSendKey(t, "restore", "list")
	text := k.Append(nil)
	add("send-key", "ok", "a send key", "ok", text)
	add("send-key", "check", "one digit of the dedup secret is wrong", "malformed", edit(t, text, "000102", "000103"))
	add("send-key", "no-check", "no check line", "malformed", text[:bytes.Index(text, []byte("check: "))])
	add("send-key", "after-check", "a line after the check", "malformed", append(bytes.Clone(text), "more: x\n"...))
	add("send-key", "upper-case", "a seed in upper case", "malformed", edit(t, text, "8a8b8c", "8A8B8C"))
	add("send-key", "short-seed", "a seed of 31 bytes", "malformed", edit(t, text, "8081", "80"))
	add("send-key", "client", "a client name with a slash", "malformed", edit(t, text, "client: web1", "client: a/b"))
	add("send-key", "order", "two lines have changed places", "malformed",
		edit(t, text, "client: web1\ncreated: 2026-01-31T12:00:00Z\n", "created: 2026-01-31T12:00:00Z\nclient: web1\n"))
	body := strings.Split(string(k.appendBody(nil)), "\n")
	withoutRestore := strings.Join(slices.Delete(slices.Clone(body), 4, 5), "\n")
	reseal := func(body string) []byte {
		return []byte(markers[TextSendKey].marker + "\n" + body + "check: " + textCheck([]byte(body)) + "\n")
	}
	add("send-key", "no-restore", "no restore recipient", "malformed", reseal(withoutRestore))
	twice := strings.Join(slices.Insert(slices.Clone(body), 4, body[4]), "\n")
	add("send-key", "repeat", "one recipient twice", "malformed", reseal(twice))
	add("send-key", "reading", "a restore key", "is-reading", keyFixture(t, "restore.key"))
	add("send-key", "public", "its public part", "is-public", k.Sender().Append(nil))

	add("sender", "ok", "the public part of a send key", "ok", k.Sender().Append(nil))
	add("sender", "fingerprint", "a fingerprint that is not the key's", "malformed", edit(t, k.Sender().Append(nil), "9c2a", "9c2b"))
	add("sender", "reading", "the public part of a restore key", "is-reading", keyFixture(t, "restore.pub"))
	group := &Group{recipients: k.recipients, dedup: k.dedup}
	add("group", "ok", "a dedup group", "ok", group.Append(nil))
	add("group", "check", "a wrong check line", "malformed", edit(t, group.Append(nil), "000102", "000103"))
}
