package client

// listed counts the items of an answer that whoever asked may hold as a whole.
// It is for one stream.
type listed struct {
	c     *Conn
	what  string // what it lists, in the plural
	most  int    // how many items it may list
	items int
	bytes int
}

// add counts an item of which n bytes may be held. A store that lists too many
// is given up.
func (l *listed) add(n int) error {
	l.items++
	l.bytes += n
	if l.items <= l.most && l.bytes <= l.c.maxListedBytes {
		return nil
	}
	err := &ListError{l.what, l.most}
	l.c.fail(err)
	return err
}

// held is event with its items counted.
func (c *Conn) held(what string, event func([]byte) error) func([]byte) error {
	l := &listed{c: c, what: what, most: c.maxListed}
	return func(b []byte) error {
		if err := l.add(len(b)); err != nil {
			return err
		}
		return event(b)
	}
}
