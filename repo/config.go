package repo

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/packnback/packnback/repo/object"
)

const (
	configName    = "config"
	configVersion = 1
	maxConfig     = 64 << 10
	maxSetting    = 1024 // bytes of a setting's value
)

// config is the file of that name: packnback-repository(5), "CONFIG".
type config struct {
	id       object.RepositoryID
	settings map[string]string // those that differ from their defaults
}

func (c *config) append(dst []byte) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "packnback repository\nversion %d\nid %s\n", configVersion, c.id)
	keys := make([]string, 0, len(c.settings))
	for k := range c.settings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		dst = fmt.Appendf(dst, "set %s %s\n", k, c.settings[k])
	}
	return fmt.Appendf(dst, "checksum %016x\n", xxhash.Sum64(dst[start:]))
}

// unmarshalConfig is append's inverse. The version is judged before anything
// that a later version might have changed.
func unmarshalConfig(b []byte) (*config, error) {
	if len(b) > maxConfig {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", object.ErrMalformed, len(b), maxConfig)
	}
	rest, ok := bytes.CutPrefix(b, []byte("packnback repository\nversion "))
	if !ok {
		return nil, fmt.Errorf("%w: doesn't begin like a packnback repository's config", object.ErrMalformed)
	}
	if err := checkConfigVersion(rest); err != nil {
		return nil, err
	}
	sumLine := bytes.LastIndex(b, []byte("\nchecksum ")) + 1
	if sumLine == 0 {
		return nil, fmt.Errorf("%w: no checksum", object.ErrMalformed)
	}
	if want := fmt.Sprintf("checksum %016x\n", xxhash.Sum64(b[:sumLine])); string(b[sumLine:]) != want {
		return nil, object.ErrChecksum
	}
	lines := strings.Split(string(b[:sumLine-1]), "\n")[2:]
	return parseConfigLines(lines)
}

func checkConfigVersion(rest []byte) error {
	line, _, ok := bytes.Cut(rest, []byte("\n"))
	version, err := strconv.ParseUint(string(line), 10, 32)
	if !ok || err != nil || strconv.FormatUint(version, 10) != string(line) || version == 0 {
		return fmt.Errorf("%w: version %.20q", object.ErrMalformed, line)
	}
	if version > configVersion {
		return fmt.Errorf("%w: version %d", errVersion, version)
	}
	return nil
}

// parseConfigLines reads what stands between version and checksum.
func parseConfigLines(lines []string) (*config, error) {
	c := &config{settings: map[string]string{}}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%w: no id", object.ErrMalformed)
	}
	digits, ok := strings.CutPrefix(lines[0], "id ")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(c.id) || hex.EncodeToString(raw) != digits {
		return nil, fmt.Errorf("%w: third line is %.80q, not the id", object.ErrMalformed, lines[0])
	}
	copy(c.id[:], raw)
	last := ""
	for _, line := range lines[1:] {
		if name, ok := strings.CutPrefix(line, "feature "); ok {
			return nil, fmt.Errorf("%w: feature %.80q", errVersion, name)
		}
		setting, ok := strings.CutPrefix(line, "set ")
		if !ok {
			return nil, fmt.Errorf("%w: line %.80q", object.ErrMalformed, line)
		}
		key, value, _ := strings.Cut(setting, " ")
		if key <= last {
			return nil, fmt.Errorf("%w: setting %.80q is out of order", object.ErrMalformed, key)
		}
		last = key
		if findSetting(key) == nil {
			return nil, fmt.Errorf("%w: setting %.80q", errVersion, key)
		}
		if err := checkSettingText(value); err != nil {
			return nil, fmt.Errorf("%w: setting %q: %w", object.ErrMalformed, key, err)
		}
		c.settings[key] = value
	}
	return c, nil
}

// checkSettingText says whether value can stand in the config at all; what it
// means is for the setting to decide.
func checkSettingText(value string) error {
	if value == "" || len(value) > maxSetting || strings.TrimSpace(value) != value {
		return fmt.Errorf("value %.80q: want 1 to %d characters, no space at either end", value, maxSetting)
	}
	for i := 0; i < len(value); i++ {
		if value[i] < ' ' || value[i] > '~' {
			return fmt.Errorf("value %.80q: want printable ASCII", value)
		}
	}
	return nil
}
