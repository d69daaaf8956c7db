package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Location is where a repository is. The zero Host means this machine.
type Location struct {
	User string // empty: whoever ssh takes
	Host string // name or address, without brackets
	Port int    // 0: whatever ssh takes
	Path string // on the far side relative to the user's home; empty there: the store decides
}

// Remote reports whether l is on another machine.
func (l Location) Remote() bool { return l.Host != "" }

// String returns l in a form that ParseLocation reads.
func (l Location) String() string {
	if !l.Remote() {
		return l.Path
	}
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.User != "" {
		host = l.User + "@" + host
	}
	// The short form can't say a port, and // after it would look like a scheme.
	if l.Port == 0 && !strings.HasPrefix(l.Path, "//") {
		return host + ":" + l.Path
	}
	if l.Port != 0 {
		host += ":" + strconv.Itoa(l.Port)
	}
	switch {
	case strings.HasPrefix(l.Path, "/"):
		return "ssh://" + host + l.Path
	case l.Path != "":
		return "ssh://" + host + "/~/" + l.Path
	}
	return "ssh://" + host
}

// ParseLocation reads /path, ssh://[user@]host[:port][/path] or
// [user@]host:path. A colon before the first slash makes the difference between
// this machine and another; ./a:b is a folder here. Nothing is decoded: a
// percent sign is one.
func ParseLocation(s string) (Location, error) {
	if s == "" {
		return Location{}, errors.New("empty repository address")
	}
	if strings.ContainsRune(s, 0) {
		return Location{}, fmt.Errorf("repository address %q has a NUL in it", s)
	}
	if rest, ok := strings.CutPrefix(s, "ssh://"); ok {
		return parseURL(s, rest)
	}
	before, path, remote := cutHost(s)
	if !remote {
		return Location{Path: s}, nil
	}
	if strings.HasPrefix(path, "//") {
		return Location{}, fmt.Errorf("repository address %q: only ssh:// is known", s)
	}
	l, err := parseHost(s, before, false)
	if err != nil {
		return Location{}, err
	}
	return l.withPath(s, path)
}

// cutHost splits at the first colon outside brackets, if that comes before the
// first slash.
func cutHost(s string) (host, path string, ok bool) {
	bracket := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/' && !bracket:
			return "", "", false
		case c == '[' && (i == 0 || s[i-1] == '@'):
			bracket = true
		case c == ']':
			bracket = false
		case c == ':' && !bracket:
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// parseURL reads what follows ssh:// in s.
func parseURL(s, rest string) (Location, error) {
	host, path, slash := strings.Cut(rest, "/")
	l, err := parseHost(s, host, true)
	if err != nil {
		return Location{}, err
	}
	if !slash || path == "" {
		return l, nil
	}
	if strings.HasPrefix(path, "~") {
		return l.withPath(s, path)
	}
	return l.withPath(s, "/"+path)
}

// parseHost reads [user@]host[:port].
func parseHost(s, text string, port bool) (Location, error) {
	var l Location
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		l.User, text = text[:i], text[i+1:]
		if l.User == "" {
			return l, fmt.Errorf("repository address %q: no user before the @", s)
		}
	}
	// No ssh takes a password from here, and the short form would end at the colon.
	if strings.Contains(l.User, ":") {
		return Location{}, errors.New("repository address: a user has no colon, and a password can't be given in an address; use an ssh key")
	}
	l.Host = text
	if h, p, err := net.SplitHostPort(text); port && err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return l, fmt.Errorf("repository address %q: %q is not a port", s, p)
		}
		if strings.HasPrefix(text, "[") && !isAddress(h) {
			return l, fmt.Errorf("repository address %q: %q is not an address", s, h)
		}
		l.Host, l.Port = h, int(n)
	} else if inner, ok := strings.CutPrefix(text, "["); ok {
		if l.Host, ok = strings.CutSuffix(inner, "]"); !ok || !isAddress(l.Host) {
			return l, fmt.Errorf("repository address %q: %q is not an address", s, text)
		}
	} else if strings.Contains(text, ":") {
		return l, fmt.Errorf("repository address %q: %q is not a host and a port", s, text)
	}
	if err := checkWord("host", l.Host); err != nil {
		return l, fmt.Errorf("repository address %q: %w", s, err)
	}
	if l.User != "" {
		if err := checkWord("user", l.User); err != nil {
			return l, fmt.Errorf("repository address %q: %w", s, err)
		}
	}
	return l, nil
}

// isAddress reports whether s is an IP address, with or without a zone.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// checkWord refuses what ssh could take for an option, and what a ProxyCommand
// of the user's configuration would hand to a shell.
func checkWord(what, s string) error {
	if s == "" {
		return fmt.Errorf("no %s", what)
	}
	if s[0] == '-' {
		return fmt.Errorf("a %s can't start with a hyphen", what)
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("'\"`$\\;&<>|(){}*?[]!#~,/@", r) {
			return fmt.Errorf("the %s has a character in it that is not allowed: %q", what, r)
		}
	}
	return nil
}

func (l Location) withPath(s, path string) (Location, error) {
	if path == "~" {
		path = "."
	}
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		path = strings.TrimLeft(below, "/") // ~//x is below the home too
	}
	if strings.HasPrefix(path, "~") {
		return l, fmt.Errorf("repository address %q: another user's home can't be named; give the whole path", s)
	}
	l.Path = path
	return l, nil
}
