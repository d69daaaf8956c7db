package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// How long the built-in client waits.
const (
	dialPatience  = 30 * time.Second // for the far machine to take the connection, and again for all until the command runs
	agentPatience = 10 * time.Minute // for an agent, which may be waiting for somebody to touch a token
)

// channel is a running command of the built-in client.
type channel struct {
	to      Location // with the user and the port that were used
	remote  string
	client  *ssh.Client
	agent   io.Closer // nil when there is none
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	says    *remarks
	exited  chan struct{} // closed when err is set
	err     error         // of the command
	close   sync.Once
}

// settings are the options of "builtin" and what the environment says.
type settings struct {
	user     string
	port     int
	keys     []string // files that are named; empty: the default ones
	home     string
	agent    string // its socket
	ask      func(question string, secret bool) (string, error)
	dial     func(ctx context.Context, hostPort string) (net.Conn, error)
	clock    *clock // of the login that is under way
	hostPort string
	unread   error // why a key file could not be used
}

// newSettings reads the words after "builtin": -i FILE, -p PORT and -l USER.
func newSettings(to Location, words []string, opt Options) (*settings, error) {
	s := &settings{port: sshPort, ask: opt.Ask, dial: opt.dial}
	if s.dial == nil {
		s.dial = func(ctx context.Context, hostPort string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialPatience}).DialContext(ctx, "tcp", hostPort)
		}
	}
	if opt.Getenv != nil {
		s.home, s.agent, s.user = opt.Getenv("HOME"), opt.Getenv("SSH_AUTH_SOCK"), opt.Getenv("USER")
	}
	for i := 0; i < len(words); i += 2 {
		if i+1 == len(words) {
			return nil, fmt.Errorf("the built-in ssh client wants something after %q", words[i])
		}
		switch value := words[i+1]; words[i] {
		case "-i":
			s.keys = append(s.keys, value)
		case "-l":
			s.user = value
		case "-p":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("the built-in ssh client: %q is not a port", value)
			}
			s.port = int(port)
		default:
			return nil, fmt.Errorf("the built-in ssh client knows -i FILE, -l USER and -p PORT, not %q", words[i])
		}
	}
	if to.User != "" {
		s.user = to.User
	}
	if to.Port != 0 {
		s.port = to.Port
	}
	if s.user == "" {
		return nil, errors.New("the built-in ssh client does not know who you are: name the user, as in user@host:path")
	}
	s.hostPort = net.JoinHostPort(to.Host, strconv.Itoa(s.port))
	return s, nil
}

// dialBuiltin runs remote on the far side with the built-in client.
func dialBuiltin(ctx context.Context, to Location, words []string, remote string, opt Options) (Link, error) {
	s, err := newSettings(to, words, opt)
	if err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, s.hostPort)
	if err != nil {
		return nil, &Error{Problem: Unreachable, Host: to.Host, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s.clock = newClock(conn, dialPatience)
	to.User, to.Port = s.user, s.port
	c := &channel{to: to, remote: remote, says: &remarks{to: opt.Stderr}, exited: make(chan struct{})}
	if err = s.login(ctx, c, conn); err == nil {
		if err = c.start(); err == nil {
			s.clock.stop()
			return c, nil
		}
		c.hangUp()
		err = &Error{Problem: Ended, Host: to.Host, Err: err}
	}
	conn.Close()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.clock.expired():
		return nil, &Error{Problem: Unreachable, Host: to.Host, Detail: fmt.Sprintf("it takes the connection, and lets nobody in within %v", dialPatience), Err: err}
	}
	return nil, err
}

// login checks the host key and proves who the user is, and gives c what comes
// of it. The caller closes conn where that fails.
func (s *settings) login(ctx context.Context, c *channel, conn net.Conn) error {
	if ask := s.ask; ask != nil {
		s.ask = func(question string, secret bool) (string, error) {
			s.clock.pause()
			defer s.clock.resume()
			return ask(question, secret)
		}
	}
	known, err := openKnownHosts(s)
	if err != nil {
		return err
	}
	methods, closer := s.methods(ctx)
	config := &ssh.ClientConfig{
		User: s.user, Auth: methods, HostKeyCallback: known.check, HostKeyAlgorithms: known.algorithms(s.hostPort),
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, s.hostPort, config)
	if err == nil {
		c.client, c.agent = ssh.NewClient(sc, channels, requests), closer
		return nil
	}
	if closer != nil {
		closer.Close()
	}
	var already *Error
	switch {
	case errors.As(err, &already):
		already.User, already.Port = s.user, s.port
		return already
	case s.unread != nil:
		return &Error{Problem: LoginRefused, Host: c.to.Host, Detail: clean(s.unread.Error()), Err: s.unread}
	case known.accepted:
		return &Error{Problem: LoginRefused, Host: c.to.Host, Detail: fmt.Sprintf("no key of %s was taken for the user %q", s.sources(), s.user), Err: err}
	}
	return &Error{Problem: Ended, Host: c.to.Host, Err: err}
}

// sources says for people where keys were looked for.
func (s *settings) sources() string {
	text := "the key files"
	if s.agent != "" {
		text += " or the agent"
	}
	return text
}

// methods returns the ways to prove who the user is: the agent's keys, then
// key files. Files that are encrypted ask for their passphrase when needed.
func (s *settings) methods(ctx context.Context) ([]ssh.AuthMethod, io.Closer) {
	var closer io.Closer
	agentKeys := func() ([]ssh.Signer, error) { return nil, nil }
	if s.agent != "" && len(s.keys) == 0 {
		if conn, err := net.Dial("unix", s.agent); err == nil {
			_ = conn.SetDeadline(time.Now().Add(agentPatience)) // a socket can
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			a := asked{conn, s.clock, stop}
			closer, agentKeys = a, agent.NewClient(a).Signers
		}
	}
	return []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		signers, _ := agentKeys() // an agent that fails has no keys
		files := s.keys
		if len(files) == 0 && s.home != "" {
			for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
				files = append(files, filepath.Join(s.home, ".ssh", name))
			}
		}
		for _, name := range files {
			signer, err := s.readKey(name)
			switch {
			case err == nil:
				signers = append(signers, signer)
			case len(s.keys) > 0 || !errors.Is(err, os.ErrNotExist) && len(signers) == 0:
				s.unread = fmt.Errorf("reading the ssh key %q: %w", name, err)
				return nil, s.unread
			}
		}
		return signers, nil
	})}, closer
}

// readKey reads one private key.
func (s *settings) readKey(name string) (ssh.Signer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return signer, err
	}
	if s.ask == nil {
		return nil, errors.New("it needs a passphrase and there is no terminal to ask on; load it into the agent")
	}
	pass, err := s.ask(fmt.Sprintf("passphrase of the ssh key %q", name), true)
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKeyWithPassphrase(text, []byte(pass))
}

// start runs the command.
func (c *channel) start() error {
	var err error
	if c.session, err = c.client.NewSession(); err != nil {
		return err
	}
	if c.in, err = c.session.StdinPipe(); err != nil {
		return err
	}
	if c.out, err = c.session.StdoutPipe(); err != nil {
		return err
	}
	c.session.Stderr = c.says
	if err := c.session.Start(c.remote); err != nil {
		return err
	}
	go func() {
		c.err = c.session.Wait()
		close(c.exited)
	}()
	return nil
}

// hangUp closes the connection.
func (c *channel) hangUp() {
	c.client.Close()
	if c.agent != nil {
		c.agent.Close()
	}
}

// Read reads what the far side writes.
func (c *channel) Read(b []byte) (int, error) {
	n, err := c.out.Read(b)
	if n > 0 {
		c.says.release()
	}
	return n, err
}

// Write writes what the far side reads.
func (c *channel) Write(b []byte) (int, error) { return c.in.Write(b) }

// Close lets the far side come to its end and hangs up.
func (c *channel) Close() error {
	c.close.Do(func() {
		c.in.Close()
		c.ended()
		c.hangUp()
		<-c.exited
		c.says.release()
	})
	return nil
}

// ended waits a little for the command's end.
func (c *channel) ended() bool {
	timer := time.NewTimer(exitPatience)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true
	case <-timer.C:
		return false
	}
}

// Explain judges by the command's exit status and last words.
func (c *channel) Explain(err error) error {
	var exit *ssh.ExitError
	switch ended := c.ended(); {
	case !ended || c.err == nil:
		c.says.release()
		return err
	case errors.As(c.err, &exit):
		return judge(c.to, c.remote, exit.ExitStatus(), c.says.last(), err)
	}
	c.says.release()
	return &Error{Problem: Ended, Host: c.to.Host, Remote: c.remote, Err: err}
}
