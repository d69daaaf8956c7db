package ui

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

func newTestUI(m Mode) (*UI, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	e := &env.Env{Stdout: &out, Stderr: &errs, Now: time.Now}
	return New(e, m), &out, &errs
}

func TestQuote(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain name.txt", "plain name.txt"},
		{"ümläut 日本", "ümläut 日本"},
		{"", ""},
		{"\x1b[2Jgone", `"\x1b[2Jgone"`},
		{"two\nlines", `"two\nlines"`},
		{"bad\xffbyte", `"bad\xffbyte"`},
		{"csi\u009b31m", `"csi\u009b31m"`},
		{"evil\u202etxt.exe", `"evil\u202etxt.exe"`},
		{"zero\u200bwidth", `"zero\u200bwidth"`},
		{`"looks quoted"`, `"\"looks quoted\""`},
	} {
		if got := Quote(c.in); got != c.want {
			t.Errorf("Quote(%q): got %s, want %s", c.in, got, c.want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"a", "\x1b]0;title\a", "\u202e", "\xff\xfe", "'$(rm)'", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, q := range []string{Quote(s), QuoteText(s), oneLine(QuoteText(s))} {
			for i := range len(q) {
				if q[i] < 0x20 || q[i] == 0x7f {
					t.Fatalf("%q is shown as %q, with a control character", s, q)
				}
			}
			if !json.Valid(JSONLine(q)) {
				t.Fatalf("%q does not encode", q)
			}
		}
	})
}

func TestShellWord(t *testing.T) {
	for _, s := range []string{"plain", "", "two words", "it's", "$(id)", "`id`", "-x", "a\nb", "é", "tab\there", `back\slash`, "*"} {
		out, err := exec.Command("bash", "-c", "printf %s "+ShellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("ShellWord(%q) = %s, which the shell reads as %q, %v", s, ShellWord(s), out, err)
		}
	}
}

func TestSayIsOneLine(t *testing.T) {
	u, out, errs := newTestUI(Mode{})
	u.Say("error", "first\nsecond\r\nthird")
	u.Say("", "plain")
	if got, want := errs.String(), "packnback: error: first second third\npacknback: plain\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if out.Len() != 0 {
		t.Errorf("standard output got %q", out.String())
	}
}

func TestModes(t *testing.T) {
	u, out, _ := newTestUI(Mode{JSON: true})
	u.Printf("text\n")
	u.Remarkf("text")
	u.PrintJSON(map[string]string{"a": "<&>\xff"})
	if got, want := out.String(), "{\"a\":\"<&>\ufffd\"}\n"; got != want && got != "{\"a\":\"<&>\\ufffd\"}\n" {
		t.Errorf("JSON mode: got %q, want %q", got, want)
	}
	u, out, _ = newTestUI(Mode{Quiet: true})
	u.Remarkf("text")
	u.Printf("result\n")
	if got, want := out.String(), "result\n"; got != want {
		t.Errorf("quiet mode: got %q, want %q", got, want)
	}
}

func TestTable(t *testing.T) {
	tab := NewTable("ID", ">Size", "Name")
	tab.Row("ab", "1 KiB", "é\x1b[0m")
	tab.Row("cdef", "20 KiB")
	var b strings.Builder
	if _, err := tab.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"ID      Size  Name\n" +
		"------------------------\n" +
		"ab     1 KiB  \"é\\x1b[0m\"\n" +
		"cdef  20 KiB\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestProgressJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, out, _ := newTestUI(Mode{JSON: true})
		p := u.Progress("saving", func() Status {
			return Status{Files: 3, Bytes: 512, TotalFiles: 6, TotalBytes: 1024, Errors: 1, Current: "a"}
		})
		<-time.After(1500 * time.Millisecond)
		p.Stop()
		p.Stop()
		want := `{"message_type":"status","seconds_elapsed":1,"percent_done":0.5,"total_files":6,"files_done":3,` +
			`"total_bytes":1024,"bytes_done":512,"error_count":1,"current_files":["a"]}` + "\n"
		if out.String() != want {
			t.Errorf("got  %swant %s", out.String(), want)
		}
	})
}

func TestProgressOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan os.Signal)
		var errs bytes.Buffer
		u := New(&env.Env{Stderr: &errs, Now: time.Now, StatusRequests: asked}, Mode{Quiet: true})
		p := u.Progress("saving", func() Status { return Status{Files: 1234, Bytes: 2048, Sent: 1024} })
		asked <- os.Interrupt
		p.Stop()
		if got, want := errs.String(), "packnback: saving: 1,234 files, 2.0 KiB, 1.0 KiB stored\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
