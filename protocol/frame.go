package protocol

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/packnback/packnback/repo/object"
)

// Preamble begins each direction of a connection. Its last byte is the version
// of the framing.
const Preamble = "PNBwire\x01"

// HeaderSize is the length of a frame before its payload.
const HeaderSize = 5

// Type says what message a frame carries. Types below 0x80 are the client's.
// The numbers never change their meaning.
type Type uint8

// The messages of packnback-protocol(7), "FRAMES".
const (
	TypeHello      Type = 0x01
	TypeAlive      Type = 0x02
	TypeOpen       Type = 0x03
	TypePut        Type = 0x04
	TypeHave       Type = 0x05
	TypeCheckpoint Type = 0x06
	TypeCommit     Type = 0x07
	TypeClose      Type = 0x08
	TypeReplicate  Type = 0x09
	TypeReplica    Type = 0x0a
	TypeSnapshots  Type = 0x10
	TypeLookup     Type = 0x11
	TypeLinks      Type = 0x12
	TypePush       Type = 0x13
	TypeFetch      Type = 0x14
	TypeWindow     Type = 0x15
	TypeCancel     Type = 0x16
	TypeKeys       Type = 0x17
	TypeAdminister Type = 0x20

	TypeWelcome    Type = 0x81
	TypeStoreAlive Type = 0x82
	TypeError      Type = 0x83
	TypeDone       Type = 0x84
	TypeOpened     Type = 0x85
	TypeHeld       Type = 0x86
	TypeDurable    Type = 0x87
	TypeCommitted  Type = 0x88
	TypeSnapshot   Type = 0x90
	TypeObject     Type = 0x91
	TypeEvent      Type = 0xa0
	TypeResult     Type = 0xa1
)

var typeNames = map[Type]string{
	TypeHello: "Hello", TypeAlive: "Alive", TypeOpen: "Open", TypePut: "Put", TypeHave: "Have",
	TypeCheckpoint: "Checkpoint", TypeCommit: "Commit", TypeClose: "Close", TypeReplicate: "Replicate", TypeReplica: "Replica", TypeSnapshots: "Snapshots",
	TypeLookup: "Lookup", TypeLinks: "Links", TypePush: "Push", TypeFetch: "Fetch", TypeWindow: "Window",
	TypeCancel: "Cancel", TypeKeys: "Keys", TypeAdminister: "Administer",
	TypeWelcome: "Welcome", TypeStoreAlive: "Alive", TypeError: "Error", TypeDone: "Done", TypeOpened: "Opened",
	TypeHeld: "Held", TypeDurable: "Durable", TypeCommitted: "Committed", TypeSnapshot: "Snapshot",
	TypeObject: "Object", TypeEvent: "Event", TypeResult: "Result",
}

// String returns the message's name as the manual spells it.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %#02x", uint8(t))
}

// FromClient reports whether a message of type t is one that clients send.
func (t Type) FromClient() bool { return t < 0x80 }

// Limit returns the largest payload of a message of type t, and whether there
// is such a message at all.
func (t Type) Limit() (int, bool) {
	n, ok := limits[t]
	return n, ok
}

// Message is one message of either direction.
type Message interface {
	// Type says which message it is.
	Type() Type
	// Append appends the payload to dst.
	Append(dst []byte) []byte
}

// AppendFrame appends m as a frame. The message must keep its type's limit;
// one that doesn't is a bug of the caller, and the receiver will refuse it.
func AppendFrame(dst []byte, m Message) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(m.Type()))
	dst = m.Append(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderSize))
	return dst
}

// Header is the fixed part of a frame.
type Header struct {
	Type   Type
	Length int // of the payload, within the type's limit
}

// ReadHeader reads the fixed part of the next frame and refuses an unknown
// type and a length beyond its limit, so that the caller may allocate. A
// stream that ends between two frames gives io.EOF, one that ends inside
// a header io.ErrUnexpectedEOF.
func ReadHeader(r io.Reader) (Header, error) {
	var b [HeaderSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Header{}, err
	}
	h := Header{Type: Type(b[4]), Length: int(binary.BigEndian.Uint32(b[:]))}
	limit, ok := h.Type.Limit()
	if !ok {
		return h, malformed("frame of unknown %s", h.Type)
	}
	if h.Length > limit {
		return h, malformed("%s of %d bytes, limit is %d", h.Type, h.Length, limit)
	}
	return h, nil
}

// malformed describes bytes that break the protocol.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w message: %w", object.ErrMalformed, fmt.Errorf(format, args...))
}
