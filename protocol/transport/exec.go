package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Patience with a child process.
const (
	exitPatience   = 5 * time.Second        // from closing its input to killing it
	stderrPatience = 200 * time.Millisecond // for its last words, which a ControlMaster may keep open for ever
)

// process is a running ssh.
type process struct {
	to     Location
	remote string
	cmd    *exec.Cmd
	in     *os.File // what it reads
	out    *os.File // what it writes
	says   *remarks
	exited chan struct{} // closed when status is set and its last words are in
	status int
	close  sync.Once
}

// arguments returns the words that ssh is started with. Agent and X11 are not
// for the store, and the host can't be taken for an option.
func arguments(to Location, words []string, remote string) []string {
	args := append([]string{}, words...)
	args = append(args, "-a", "-x", "-T")
	if to.Port != 0 {
		args = append(args, "-p", strconv.Itoa(to.Port))
	}
	host := to.Host
	if to.User != "" {
		host = to.User + "@" + host
	}
	return append(args, "--", host, remote)
}

// asked returns l with the user and the port that the words of an ssh command
// have, which come before ours and win. Only hints depend on it.
func (l Location) asked(words []string) Location {
	for i := len(words) - 2; i > 0; i-- { // the first of several wins
		switch value := words[i+1]; words[i] {
		case "-l":
			if checkWord("user", value) == nil {
				l.User = value
			}
		case "-p":
			if port, err := strconv.ParseUint(value, 10, 16); err == nil {
				l.Port = int(port)
			}
		}
	}
	return l
}

// dialExec starts the ssh that words call.
func dialExec(to Location, words []string, remote string, stderr io.Writer) (Link, error) {
	args := arguments(to, words, remote)
	p := &process{to: to.asked(words), remote: remote, cmd: exec.Command(args[0], args[1:]...), says: &remarks{to: stderr}, exited: make(chan struct{})}
	var theirs [3]*os.File
	var errs *os.File
	var err error
	defer func() {
		for _, f := range theirs {
			if f != nil {
				f.Close() // the child has its own copies
			}
		}
	}()
	if theirs[0], p.in, err = os.Pipe(); err == nil {
		if p.out, theirs[1], err = os.Pipe(); err == nil {
			errs, theirs[2], err = os.Pipe()
		}
	}
	if err == nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = p.cmd.Start()
	}
	if err != nil {
		for _, f := range []*os.File{p.in, p.out, errs} {
			if f != nil {
				f.Close()
			}
		}
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return nil, &Error{Problem: NoSSH, Host: to.Host, Err: err}
		}
		return nil, fmt.Errorf("starting %q: %w", words[0], err)
	}
	go p.wait(errs)
	return p, nil
}

// wait passes the child's stderr on and learns how it ended.
func (p *process) wait(errs *os.File) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.Copy(p.says, errs) // ends by the deadline, or when errs is closed, at the latest
	}()
	err := p.cmd.Wait()
	timer := time.NewTimer(stderrPatience)
	defer timer.Stop()
	select {
	case <-said:
	case <-timer.C:
		if errs.SetReadDeadline(time.Now()) == nil { // a pipe has deadlines
			<-said
			rest(p.says, errs)
		}
	}
	errs.Close()
	<-said
	p.status = p.cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.status = -1
	}
	close(p.exited)
}

// rest passes on what is in a pipe, and doesn't wait for more: on a machine that
// stalls, the child may have ended and said why long before anybody read it.
func rest(to io.Writer, pipe *os.File) {
	_ = pipe.SetReadDeadline(time.Time{})
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 64<<10) // as much as a pipe has room for
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), b) // it has O_NONBLOCK
		return true
	})
	if err == nil && n > 0 {
		_, _ = to.Write(b[:n])
	}
}

// Read reads what the far side writes.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n > 0 {
		p.says.release()
	}
	return n, err
}

// Write writes what the far side reads.
func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close lets the child come to its end and kills it when it doesn't.
func (p *process) Close() error {
	p.close.Do(func() {
		p.in.Close()
		if !p.ended(exitPatience) {
			_ = p.cmd.Process.Kill() // it may have ended meanwhile
			<-p.exited
		}
		p.out.Close()
		p.says.release()
	})
	return nil
}

// ended waits up to d for the child's end.
func (p *process) ended(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// Explain judges by the child's exit status and last words.
func (p *process) Explain(err error) error {
	if !p.ended(exitPatience) || p.status == 0 {
		p.says.release()
		return err
	}
	return judge(p.to, p.remote, p.status, p.says.last(), err)
}
