package transport

import (
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSplitWords(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  ssh  -p 2222 ", []string{"ssh", "-p", "2222"}},
		{`ssh -i "my key" -o 'A=b c'`, []string{"ssh", "-i", "my key", "-o", "A=b c"}},
		{`a\ b "c\"d" 'e\f' ""`, []string{"a b", `c"d`, `e\f`, ""}},
		{`"a\b"`, []string{`a\b`}},
		{`x"y"'z'`, []string{"xyz"}},
	} {
		got, err := splitWords(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("splitWords(%q): got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{`"open`, `'open`, `end\`} {
		if got, err := splitWords(in); err == nil {
			t.Errorf("splitWords(%q): got %q, want an error", in, got)
		}
	}
}

// TestArguments holds that nothing from an address comes before the --.
func TestArguments(t *testing.T) {
	got := arguments(Location{User: "me", Host: "host", Port: 2222, Path: "/x; rm -rf /"}, []string{"ssh", "-v"}, "packnback serve")
	want := []string{"ssh", "-v", "-a", "-x", "-T", "-p", "2222", "--", "me@host", "packnback serve"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, l := range []Location{{Host: "-oProxyCommand=id"}, {Host: "h", User: "-oX"}, {Host: "$(id)"}, {}} {
		if _, err := Dial(t.Context(), l, Options{Command: "/bin/false"}); err == nil {
			t.Errorf("Dial(%+v) did not refuse", l)
		}
	}
}

func TestRemarksAreCleanedAndBounded(t *testing.T) {
	var to strings.Builder
	r := &remarks{to: &to, there: true}
	io.WriteString(r, "one\r\ntwo\x1b[2J\a\n\n   \nthr")
	io.WriteString(r, "ee")
	if got, want := to.String(), "remote: one\nremote: two?[2J?\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.last(); !reflect.DeepEqual(got, []string{"one", "two?[2J?", "three"}) {
		t.Errorf("last: got %q", got)
	}
	io.WriteString(r, strings.Repeat("x", 10*maxLine)+"\n")
	if got := r.last(); len(got[len(got)-1]) != maxLine {
		t.Errorf("a long line has %d bytes, want %d", len(got[len(got)-1]), maxLine)
	}
	io.WriteString(r, strings.Repeat("flood\n", 3*maxLines))
	if n := strings.Count(to.String(), "\n"); n != maxLines || !strings.HasSuffix(to.String(), "(more is not shown)\n") {
		t.Errorf("%d lines reached the user, want %d and a remark", n, maxLines)
	}
	if n := len(r.last()); n != keep {
		t.Errorf("%d lines are kept, want %d", n, keep)
	}
}

// TestTheNewestRemarkWaits holds that the line an error is made of is not told
// before, and that none is lost where there is no error.
func TestTheNewestRemarkWaits(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(*remarks)
		want string
	}{
		{"nothing else", func(*remarks) {}, "remote: one\n"},
		{"an error", func(r *remarks) { r.last(); r.release() }, "remote: one\n"},
		{"a pause", func(*remarks) { time.Sleep(2 * heldBack) }, "remote: one\nremote: two\n"},
		{"a pause and an error", func(r *remarks) { time.Sleep(2 * heldBack); r.last(); r.release() }, "remote: one\nremote: two\n"},
		{"less than a pause", func(*remarks) { time.Sleep(heldBack / 2) }, "remote: one\n"},
		{"the far side", func(r *remarks) { r.release(); r.release(); io.WriteString(r, "three\n") }, "remote: one\nremote: two\nremote: three\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var to strings.Builder
			r := &remarks{to: &to}
			io.WriteString(r, "one\ntwo\n")
			c.do(r)
			synctest.Wait()
			if got := to.String(); got != c.want {
				t.Errorf("with %s: got %q, want %q", c.what, got, c.want)
			}
		})
	}
}

// memory is a Link whose reads and writes cost no time.
type memory struct{ written int }

func (*memory) Read(b []byte) (int, error)    { return len(b), nil }
func (m *memory) Write(b []byte) (int, error) { m.written += len(b); return len(b), nil }
func (*memory) Close() error                  { return nil }
func (*memory) Explain(err error) error       { return err }

func TestLimitKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := Limit(&memory{}, 100, 50)
		start := time.Now()
		if n, err := link.Write(make([]byte, 1000<<10)); n != 1000<<10 || err != nil {
			t.Fatal(n, err)
		}
		if got := time.Since(start); got < 9900*time.Millisecond || got > 10100*time.Millisecond {
			t.Errorf("1000 KiB at 100 KiB/s took %v, want 10s", got)
		}
		start = time.Now()
		if _, err := io.ReadFull(link, make([]byte, 500<<10)); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got < 9900*time.Millisecond || got > 10100*time.Millisecond {
			t.Errorf("500 KiB at 50 KiB/s took %v, want 10s", got)
		}
		go link.Write(make([]byte, 100<<20))
		synctest.Wait()
		link.Close() // ends the writer, or synctest reports it
	})
	if link := Limit(&memory{}, 0, 0); reflect.TypeOf(link) != reflect.TypeOf(&memory{}) {
		t.Error("no limit is a limit")
	}
}

// TestStdioCanBeInterrupted has a read on a pipe that nothing comes through.
func TestStdioCanBeInterrupted(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	drain, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	defer drain.Close()
	conn, err := Stdio(in, out)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	done := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		done <- err
	}()
	conn.Close()
	if err := <-done; err == nil {
		t.Error("the read succeeded")
	}
}

// TestRest: what a pipe holds is read, though its other end stays open and
// nobody waits for that.
func TestRest(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var got strings.Builder
	rest(&got, r)
	long := strings.Repeat("why it ended\n", 3000)
	if _, err := w.WriteString(long); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now()); err != nil { // nobody read it in time
		t.Fatal(err)
	}
	rest(&got, r)
	if got.String() != long {
		t.Errorf("got %d bytes, want %d", got.Len(), len(long))
	}
}
