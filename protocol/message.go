package protocol

import (
	"encoding/binary"
)

// Bare is a message that says only which request it is about: Checkpoint,
// Close, Cancel and Done. The Alive messages, which are about none, are a Bare
// with number 0 and no payload.
type Bare struct {
	Kind   Type
	Number uint32
}

// Type returns m.Kind.
func (m *Bare) Type() Type { return m.Kind }

// Append appends the payload. UnmarshalBare is its inverse.
func (m *Bare) Append(dst []byte) []byte {
	if m.Kind == TypeAlive || m.Kind == TypeStoreAlive {
		return dst
	}
	return binary.BigEndian.AppendUint32(dst, m.Number)
}

// UnmarshalBare reads the payload of a message of type t.
func UnmarshalBare(t Type, b []byte) (*Bare, error) {
	d := decoder{b: b}
	m := &Bare{Kind: t}
	if t != TypeAlive && t != TypeStoreAlive {
		m.Number = d.number()
	}
	return m, d.end(t)
}

// Administer asks for an operation on the repository (0x20).
type Administer struct {
	Number    uint32
	Window    uint32
	Operation Operation
	Arguments []byte // as the operation says, at most MaxArguments
}

// Type returns TypeAdminister.
func (*Administer) Type() Type { return TypeAdminister }

// Append appends the payload. UnmarshalAdminister is its inverse.
func (m *Administer) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = binary.BigEndian.AppendUint32(dst, m.Window)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Operation))
	return append(dst, m.Arguments...)
}

// UnmarshalAdminister reads an Administer's payload. The arguments share b's
// memory.
func UnmarshalAdminister(b []byte) (*Administer, error) {
	d := decoder{b: b}
	m := &Administer{Number: d.number(), Window: d.window(), Operation: Operation(d.uint16())}
	m.Arguments = d.rest(0, MaxArguments)
	return m, d.end(TypeAdminister)
}

// Outcome carries an event (0xa0) or the result (0xa1) of an operation.
type Outcome struct {
	Final  bool // the result, which ends the request
	Number uint32
	Body   []byte // as the operation says, at most MaxEvent or MaxResult
}

// Type returns TypeEvent or TypeResult.
func (m *Outcome) Type() Type {
	if m.Final {
		return TypeResult
	}
	return TypeEvent
}

// Append appends the payload. UnmarshalOutcome is its inverse.
func (m *Outcome) Append(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, m.Number), m.Body...)
}

// UnmarshalOutcome reads the payload of a message of type TypeEvent or
// TypeResult. The body shares b's memory.
func UnmarshalOutcome(t Type, b []byte) (*Outcome, error) {
	d := decoder{b: b}
	m := &Outcome{Final: t == TypeResult, Number: d.number()}
	limit := MaxEvent
	if m.Final {
		limit = MaxResult
	}
	m.Body = d.rest(0, limit)
	return m, d.end(t)
}

// Unmarshal reads the payload of a message of type t.
func Unmarshal(t Type, b []byte) (Message, error) {
	switch t {
	case TypeHello:
		return message(UnmarshalHello(b))
	case TypeWelcome:
		return message(UnmarshalWelcome(b))
	case TypeOpen:
		return message(UnmarshalOpen(b))
	case TypeOpened:
		return message(UnmarshalOpened(b))
	case TypePut:
		return message(UnmarshalPut(b))
	case TypeDurable:
		return message(UnmarshalDurable(b))
	case TypeHave:
		return message(UnmarshalHave(b))
	case TypeHeld:
		return message(UnmarshalHeld(b))
	case TypeCommit:
		return message(UnmarshalCommit(b))
	case TypeReplicate:
		return message(UnmarshalReplicate(b))
	case TypeReplica:
		return message(UnmarshalReplica(b))
	case TypeCommitted:
		return message(UnmarshalCommitted(b))
	case TypeSnapshots, TypeLinks, TypeKeys:
		return message(UnmarshalList(t, b))
	case TypeLookup, TypePush:
		return message(UnmarshalSeek(t, b))
	case TypeFetch:
		return message(UnmarshalFetch(b))
	case TypeWindow:
		return message(UnmarshalWindow(b))
	case TypeSnapshot:
		return message(UnmarshalSnapshot(b))
	case TypeObject:
		return message(UnmarshalObject(b))
	case TypeError:
		return message(UnmarshalError(b))
	case TypeAdminister:
		return message(UnmarshalAdminister(b))
	case TypeEvent, TypeResult:
		return message(UnmarshalOutcome(t, b))
	case TypeAlive, TypeStoreAlive, TypeCheckpoint, TypeClose, TypeCancel, TypeDone:
		return message(UnmarshalBare(t, b))
	}
	return nil, malformed("frame of unknown %s", t)
}

// message keeps a nil struct from becoming a Message that isn't nil.
func message[M any, P interface {
	*M
	Message
}](m P, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
