package transport

import (
	"fmt"
	"strings"
)

// Problem says why a connection did not come about.
type Problem int

// The problems that can be told apart.
const (
	Ended          Problem = iota // ssh or the far side ended, nothing more is known
	NoSSH                         // there is no ssh to run
	Unreachable                   // no way to the machine, or nobody listens
	LoginRefused                  // the machine takes none of the keys
	HostKeyChanged                // it shows another host key than before
	HostKeyUnknown                // its host key was never seen, and nobody could be asked
	NoProgram                     // there is no packnback on the far side
)

// Error says why there is no connection to a host.
type Error struct {
	Problem Problem
	Host    string
	User    string // empty: whoever ssh takes
	Port    int    // 0: whatever ssh takes
	Detail  string // last line of what ssh or the far side said, fit for a terminal; may be empty
	Remote  string // command that was to run on the far side
	Err     error  // may be nil
}

// Error says what went wrong in one line.
func (e *Error) Error() string {
	var text string
	switch e.Problem {
	case NoSSH:
		text = "can't run ssh"
	case Unreachable:
		text = fmt.Sprintf("can't reach %s", e.Host)
	case LoginRefused:
		text = fmt.Sprintf("%s refuses the login", e.Host)
	case HostKeyChanged:
		text = fmt.Sprintf("the host key of %s has CHANGED: this may be another machine that poses as it", e.Host)
	case HostKeyUnknown:
		text = fmt.Sprintf("the host key of %s is not known", e.Host)
	case NoProgram:
		text = fmt.Sprintf("there is no %s on %s", strings.SplitN(e.Remote, " ", 2)[0], e.Host)
	default:
		text = fmt.Sprintf("the connection to %s ended", e.Host)
	}
	switch {
	case e.Detail != "":
		text += ": " + e.Detail
	case e.Err != nil:
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what can be done about it; empty when nothing is known.
func (e *Error) Hint() string {
	switch e.Problem {
	case NoSSH:
		return "install an ssh client, or use the built-in one: --ssh-command builtin"
	case Unreachable:
		return "check the address, the port (ssh://host:port/path) and that sshd runs there"
	case LoginRefused:
		return "load the key into the agent or name it, as in --ssh-command 'ssh -i FILE', and see that the far side has its authorized_keys line (packnback authorize prints it)"
	case HostKeyChanged:
		return "ask its administrator for the fingerprint; only if it is right, forget the old key: ssh-keygen -R " + e.knownAs()
	case HostKeyUnknown:
		return "log in once by hand to compare the fingerprint: ssh " + e.login()
	case NoProgram:
		return "install packnback there, or name it: --remote-command /path/to/packnback"
	}
	return ""
}

// sshPort is the port that known_hosts doesn't name.
const sshPort = 22

// login returns the words after ssh for somebody who logs in by hand.
func (e *Error) login() string {
	host := e.Host
	if e.User != "" {
		host = e.User + "@" + host
	}
	if e.Port == 0 || e.Port == sshPort {
		return host
	}
	return fmt.Sprintf("-p %d %s", e.Port, host)
}

// knownAs returns the machine's name in known_hosts, for a shell.
func (e *Error) knownAs() string {
	if e.Port == 0 || e.Port == sshPort {
		return e.Host
	}
	return fmt.Sprintf("'[%s]:%d'", e.Host, e.Port)
}

// judge turns the exit status of ssh and the last lines of its stderr into an
// error. ssh itself exits with 255; anything else comes from the far side.
func judge(to Location, remote string, status int, lines []string, err error) error {
	e := &Error{Host: to.Host, User: to.User, Port: to.Port, Remote: remote, Err: err}
	all := strings.Join(lines, "\n")
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(all, t) {
				return true
			}
		}
		return false
	}
	if len(lines) > 0 {
		e.Detail = lines[len(lines)-1]
	}
	switch {
	case status == 126 || status == 127:
		e.Problem = NoProgram
	case status != 255:
	case has("REMOTE HOST IDENTIFICATION HAS CHANGED"):
		e.Problem, e.Detail = HostKeyChanged, ""
	case has("Host key verification failed"):
		e.Problem = HostKeyUnknown
	case has("Permission denied", "Too many authentication failures", "No supported authentication methods"):
		e.Problem = LoginRefused
	case has("Could not resolve", "Connection refused", "timed out", "No route to host", "Network is unreachable", "Name or service not known"):
		e.Problem = Unreachable
	}
	return e
}
