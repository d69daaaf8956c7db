package transport

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what the far side may say on stderr. It goes to the user's
// terminal, so it is cut and cleaned, and a hostile far side can't flood it.
const (
	maxLine  = 1000
	maxLines = 1000
	keep     = 20 // lines that are kept to judge why a connection failed
)

// heldBack is how long a line may be held back. What ends ssh comes just before
// its end; what it waits for, like the touch of a hardware key, must be seen.
const heldBack = time.Second

// remarks passes the far side's stderr on to the user, line by line. Until the
// far side is there the newest line is held back for a moment, because it
// usually is why it isn't, and the error has it then. Its Write may be called by
// one goroutine while another calls last or release; one of these ends it.
type remarks struct {
	to io.Writer // nil: nobody

	mu    sync.Mutex
	part  []byte
	count int
	kept  []string
	held  string      // the line that is held back; empty: none
	timer *time.Timer // passes it on; nil before there was one
	there bool        // the far side is
}

// Write takes what the far side has said. It never fails.
func (r *remarks) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(b)
	for {
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			r.part = append(r.part, b[:min(len(b), max(0, maxLine-len(r.part)))]...)
			return n, nil
		}
		r.part = append(r.part, b[:min(i, max(0, maxLine-len(r.part)))]...)
		r.line()
		b = b[i+1:]
	}
}

// line passes on the line that is in part. The caller holds mu.
func (r *remarks) line() {
	text := clean(string(r.part))
	r.part = r.part[:0]
	if text == "" {
		return
	}
	if len(r.kept) == keep {
		r.kept = append(r.kept[:0], r.kept[1:]...)
	}
	r.kept = append(r.kept, text)
	r.count++
	if r.to == nil || r.count > maxLines {
		return
	}
	if r.count == maxLines {
		text = "(more is not shown)"
	}
	if !r.there {
		text, r.held = r.held, text
		if r.timer == nil {
			r.timer = time.AfterFunc(heldBack, r.overdue)
		} else {
			r.timer.Reset(heldBack)
		}
	}
	r.say(text)
}

// overdue passes on what was held back for long enough.
func (r *remarks) overdue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say(r.held)
	r.held = ""
}

// say passes on a line, if it is one. Nothing can be done about a stderr that
// can't be written.
func (r *remarks) say(text string) {
	if text != "" {
		_, _ = io.WriteString(r.to, "remote: "+text+"\n")
	}
}

// release passes on what is held back, and from then on everything at once.
func (r *remarks) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.there {
		r.there = true
		r.say(r.held)
		r.held = ""
	}
}

// untilDone passes on what is written until its context ends. What the far side
// says of a run that the user has broken off is no news.
type untilDone struct {
	ctx context.Context
	to  io.Writer
}

// Write writes b, or throws it away.
func (u untilDone) Write(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return len(b), nil
	}
	return u.to.Write(b)
}

// last returns the last lines, an unfinished one included. The caller makes an
// error of them that has the newest, so that is not passed on any more.
func (r *remarks) last() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.part) > 0 {
		r.line()
	}
	r.held = ""
	return append([]string(nil), r.kept...)
}

// clean takes out of s what a terminal would obey.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s))
}
