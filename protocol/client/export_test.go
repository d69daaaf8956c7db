package client

// SetListed sets how many items, of how many bytes, the store may list.
func (c *Conn) SetListed(items, bytes int) {
	c.maxListed, c.maxListedBytes, c.maxLinks = items, bytes, items
}
