package transport

import (
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Location
	}{
		{"/srv/backup", Location{Path: "/srv/backup"}},
		{"backup", Location{Path: "backup"}},
		{"./a:b", Location{Path: "./a:b"}},
		{"a/b:c", Location{Path: "a/b:c"}},
		{"/a:b", Location{Path: "/a:b"}},
		{"host:path", Location{Host: "host", Path: "path"}},
		{"host:", Location{Host: "host"}},
		{"host:/srv/x y", Location{Host: "host", Path: "/srv/x y"}},
		{"me@host:~/x", Location{User: "me", Host: "host", Path: "x"}},
		{"host:~", Location{Host: "host", Path: "."}},
		{"[::1]:/x", Location{Host: "::1", Path: "/x"}},
		{"me@[fe80::1%eth0]:x", Location{User: "me", Host: "fe80::1%eth0", Path: "x"}},
		{"host:a:b", Location{Host: "host", Path: "a:b"}},
		{"ssh://host", Location{Host: "host"}},
		{"ssh://host/", Location{Host: "host"}},
		{"ssh://host/srv/%20", Location{Host: "host", Path: "/srv/%20"}},
		{"ssh://me@host:2222/srv", Location{User: "me", Host: "host", Port: 2222, Path: "/srv"}},
		{"ssh://host/~/x", Location{Host: "host", Path: "x"}},
		{"host:~//x", Location{Host: "host", Path: "x"}},
		{"ssh://host:22/~//x", Location{Host: "host", Port: 22, Path: "x"}},
		{"host:/~x", Location{Host: "host", Path: "/~x"}},
		{"ssh://[::1]:22/x", Location{Host: "::1", Port: 22, Path: "/x"}},
		{"ssh://[::1]/x", Location{Host: "::1", Path: "/x"}},
	} {
		got, err := ParseLocation(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseLocation(%q): got %+v, %v; want %+v", c.in, got, err, c.want)
			continue
		}
		if again, err := ParseLocation(got.String()); err != nil || again != got {
			t.Errorf("%q: String gives %q, which reads as %+v, %v", c.in, got.String(), again, err)
		}
	}
}

// TestAddressesThatAreRefused has, beside plain mistakes, the words that other
// programs passed on to ssh as options or to a shell.
func TestAddressesThatAreRefused(t *testing.T) {
	for _, in := range []string{
		"", "a\x00b", "-oProxyCommand=x:path", "ssh://-oProxyCommand=x/path", "me@-oProxyCommand=x:p", "-l@host:p", "ssh://-x@host/p",
		"ho st:p", "$(id):p", "`id`:p", "ssh://a;b/p", "@host:p", "ssh://@host/p", "ssh:///p", ":p", "host:~other/x", "ssh://host/~other",
		"ssh://host:0/p", "ssh://host:99999/p", "ssh://host:x/p", "ssh://host:022/p", "s3://bucket/x", "http://host/x", "[nonsense]:x", "ssh://[nonsense]:22/x", "ssh://:@0", "ssh://me:secret@host/x", "ssh://host:22/~//~x", "a'b:p", "a\nb:p",
	} {
		if got, err := ParseLocation(in); err == nil {
			t.Errorf("ParseLocation(%q): got %+v, want an error", in, got)
		} else if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseLocation(%q): the error has a line break or a password in it: %v", in, err)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{"/a", "host:p", "ssh://me@host:22/p", "[::1]:p", "-x:p", "./a:b", "ssh://:@0", "ssh://h:22/~//~x", "ssh://[::1%a]:22//x", "h://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLocation(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(l.Host, "-") || strings.HasPrefix(l.User, "-") {
			t.Fatalf("ParseLocation(%q) lets an option through: %+v", s, l)
		}
		if again, err := ParseLocation(l.String()); err != nil || again != l {
			t.Fatalf("%q: String gives %q, which reads as %+v, %v", s, l.String(), again, err)
		}
	})
}
