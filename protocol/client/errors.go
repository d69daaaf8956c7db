package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// LostError says that the connection broke: the store may be well and a new
// connection can go on from what was durable. errors.Is(err,
// object.CodeInterrupted) is true for it.
type LostError struct {
	Err error
}

// Error says that and how the connection was lost.
func (e *LostError) Error() string { return fmt.Sprintf("lost the connection to the store: %v", e.Err) }

// Unwrap returns what reading or writing gave.
func (e *LostError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, object.CodeInterrupted) true.
func (e *LostError) Is(target error) bool { return target == object.CodeInterrupted }

// NoiseError says that what the far side sent is not the protocol: a login
// banner, a start-up file of its shell that prints, or another program.
type NoiseError struct {
	Line string // the first line of it, cut and made printable; empty when there was nothing
	Err  error  // how the stream ended, if it did
}

// Error quotes the line.
func (e *NoiseError) Error() string {
	if e.Line == "" {
		return fmt.Sprintf("the far side sent nothing: %v", e.Err)
	}
	return fmt.Sprintf("the far side does not speak packnback's protocol; it says %q", e.Line)
}

// Hint says what can be done about it.
func (e *NoiseError) Hint() string {
	if e.Line == "" {
		return ""
	}
	return "silence what prints at login there (.bashrc, .profile, a banner), and see that packnback serve is what runs"
}

// Unwrap returns how the stream ended.
func (e *NoiseError) Unwrap() error { return e.Err }

// SilenceError says that the far side did not answer the greeting in time.
// errors.Is(err, object.CodeInterrupted) is true for it.
type SilenceError struct {
	After time.Duration
}

// Error says for how long it was waited for.
func (e *SilenceError) Error() string {
	return fmt.Sprintf("the store has not answered for %v", e.After)
}

// Hint says what can be done about it.
func (*SilenceError) Hint() string {
	return "log in by hand, as in ssh -o BatchMode=yes HOST: it must neither ask for anything nor hang, and packnback serve has to be what runs"
}

// Is makes errors.Is(err, object.CodeInterrupted) true.
func (*SilenceError) Is(target error) bool { return target == object.CodeInterrupted }

// ListError says that the store lists more than the protocol allows.
// errors.Is(err, object.ErrMalformed) is true for it.
type ListError struct {
	What string // what it lists, in the plural
	Most int    // how many are allowed
}

// Error says what and how many are allowed; of those that may be large, fewer.
func (e *ListError) Error() string {
	return fmt.Sprintf("the store lists more %s than the protocol allows, %d", e.What, e.Most)
}

// Hint says what can be done about it.
func (*ListError) Hint() string {
	return "it is broken or hostile, unless there really are so many; on its own machine, with -r PATH, this limit doesn't hold"
}

// Is makes errors.Is(err, object.ErrMalformed) true.
func (*ListError) Is(target error) bool { return target == object.ErrMalformed }

// maxQuote is how much of a line of noise is quoted.
const maxQuote = 160

// greeted reads the store's preamble and its answer to Hello.
func (c *Conn) greeted() (*protocol.Welcome, error) {
	var b [len(protocol.Preamble)]byte
	n, err := io.ReadFull(c.in, b[:])
	if err != nil || string(b[:]) != protocol.Preamble {
		return nil, c.noise(b[:n], err)
	}
	for {
		h, payload, err := c.frame()
		if err != nil {
			return nil, err
		}
		switch h.Type {
		case protocol.TypeStoreAlive: // it needs long to open its repository
		case protocol.TypeWelcome:
			return protocol.UnmarshalWelcome(payload)
		case protocol.TypeError:
			m, err := protocol.UnmarshalError(payload)
			if err != nil {
				return nil, err
			}
			return nil, m.Err()
		default:
			return nil, fmt.Errorf("%w message: %s instead of Welcome", object.ErrMalformed, h.Type)
		}
	}
}

// noise describes bytes that are not the preamble, with what else has come.
func (c *Conn) noise(b []byte, err error) error {
	if len(b) == len(protocol.Preamble) && bytes.HasPrefix(b, []byte(protocol.Preamble[:7])) {
		return object.CodeVersion.Errorf("the store frames its messages in version %d, this packnback in version %d; update the older of the two",
			b[7], protocol.Preamble[7])
	}
	more, _ := c.in.Peek(min(c.in.Buffered(), protocol.MaxNoise))
	line := bytes.TrimLeft(append(bytes.Clone(b), more...), "\r\n\t ")
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	text := protocol.OneLine(string(line[:min(len(line), maxQuote)]))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return &NoiseError{Line: text, Err: err}
}
