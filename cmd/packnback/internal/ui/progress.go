package ui

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Status is how far a long run is. Totals are 0 while they are not known.
type Status struct {
	Files, TotalFiles uint64
	Bytes, TotalBytes uint64
	Sent              uint64 // bytes sent to, or received from, the store
	Errors            uint64
	Current           string // what is being worked on
	Step              string // what is being done, by those who have nothing to count; shown instead of all the rest
}

// How often progress is looked at. A terminal is redrawn often enough to look
// alive; a program that reads JSON lines is told once a second.
const (
	drawEvery = 200 * time.Millisecond
	jsonEvery = time.Second
)

// Progress shows a Status until Stop: drawn on standard error if that is a
// terminal, as status lines in JSON mode, and as a line on standard error
// whenever the process gets SIGUSR1.
type Progress struct {
	ui      *UI
	verb    string
	state   func() Status
	started time.Time
	bar     *progressbar.ProgressBar // nil when nothing is drawn

	stop chan struct{}
	done sync.WaitGroup
}

// Progress starts showing state, which is called from another goroutine and
// must be cheap. Verb begins the line ("saving", "restoring"). Only one
// Progress may be running at a time.
func (u *UI) Progress(verb string, state func() Status) *Progress {
	p := &Progress{ui: u, verb: verb, state: state, started: u.env.Now(), stop: make(chan struct{})}
	if !u.JSON && !u.Quiet && u.env.Terminal(u.env.Stderr) {
		p.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(u.env.Stderr),
			progressbar.OptionSetWidth(12),
			progressbar.OptionSpinnerType(14),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionShowIts(),
			progressbar.OptionSetRenderBlankState(false),
			progressbar.OptionUseANSICodes(false),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetItsString("files"))
	}
	u.mu.Lock()
	if p.bar != nil {
		u.bar = p
	}
	u.mu.Unlock()
	p.done.Go(p.run)
	return p
}

// Stop ends the showing and takes the drawn line away. A second Stop does
// nothing.
func (p *Progress) Stop() {
	select {
	case <-p.stop:
		return
	default:
		close(p.stop)
	}
	p.done.Wait()
	p.ui.mu.Lock()
	defer p.ui.mu.Unlock()
	if p.bar != nil {
		p.clear()
		p.ui.bar = nil
	}
}

func (p *Progress) run() {
	every := drawEvery
	if p.ui.JSON {
		every = jsonEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.ui.env.StatusRequests:
			p.ui.Say("", p.text(p.state()))
		case <-tick.C:
			switch {
			case p.ui.JSON && !p.ui.Quiet:
				p.ui.PrintJSON(p.statusLine(p.state()))
			case p.bar != nil:
				p.draw()
			}
		}
	}
}

func (p *Progress) draw() {
	s := p.state()
	p.ui.mu.Lock()
	defer p.ui.mu.Unlock()
	// The line must not wrap: a wrapped line can't be cleared.
	width := p.ui.env.Width(p.ui.env.Stderr, 80)
	text := p.text(s)
	if room := width - len(text) - 30; s.Current != "" && room > 10 {
		text += " " + tail(Quote(s.Current), room)
	}
	if s.TotalBytes > 0 {
		p.bar.ChangeMax64(int64(min(s.TotalBytes, 1<<62)))
		p.bar.Describe(text)
		_ = p.bar.Set64(int64(min(s.Bytes, s.TotalBytes, 1<<62)))
		return
	}
	p.bar.Describe(text)
	_ = p.bar.Set64(int64(min(s.Files, 1<<62)))
}

// clear removes the drawn line; p.ui.mu is held.
func (p *Progress) clear() { _ = p.bar.Clear() }

func (p *Progress) text(s Status) string {
	if s.Step != "" {
		return p.verb + ": " + s.Step
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s files, %s", p.verb, Count(s.Files), Size(s.Bytes))
	if s.TotalBytes > 0 {
		fmt.Fprintf(&b, " of %s files, %s", Count(s.TotalFiles), Size(s.TotalBytes))
	}
	if s.Sent > 0 {
		fmt.Fprintf(&b, ", %s stored", Size(s.Sent))
	}
	if s.Errors > 0 {
		fmt.Fprintf(&b, ", %s errors", Count(s.Errors))
	}
	return b.String()
}

// statusLine is the object that JSON readers get while a run goes on.
type statusLine struct {
	MessageType    string   `json:"message_type"`
	SecondsElapsed uint64   `json:"seconds_elapsed"`
	PercentDone    float64  `json:"percent_done"`
	TotalFiles     uint64   `json:"total_files,omitempty"`
	FilesDone      uint64   `json:"files_done"`
	TotalBytes     uint64   `json:"total_bytes,omitempty"`
	BytesDone      uint64   `json:"bytes_done"`
	BytesStored    uint64   `json:"bytes_stored,omitempty"`
	ErrorCount     uint64   `json:"error_count,omitempty"`
	CurrentFiles   []string `json:"current_files,omitempty"`
	Step           string   `json:"step,omitempty"`
}

func (p *Progress) statusLine(s Status) statusLine {
	l := statusLine{
		MessageType:    "status",
		SecondsElapsed: uint64(p.ui.env.Now().Sub(p.started) / time.Second),
		TotalFiles:     s.TotalFiles,
		FilesDone:      s.Files,
		TotalBytes:     s.TotalBytes,
		BytesDone:      s.Bytes,
		BytesStored:    s.Sent,
		ErrorCount:     s.Errors,
		Step:           s.Step,
	}
	if s.TotalBytes > 0 {
		l.PercentDone = float64(min(s.Bytes, s.TotalBytes)) / float64(s.TotalBytes)
	}
	if s.Current != "" {
		l.CurrentFiles = []string{s.Current}
	}
	return l
}

// tail returns the last n characters of s, with a mark where some are missing.
func tail(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}
