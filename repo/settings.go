package repo

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

// Keys of the settings that this package asks for by name.
const (
	settingGrace      = "grace"
	settingMinAge     = "min-age"
	settingMinFree    = "min-free"
	settingMaxUnused  = "max-unused"
	settingMaxDeleted = "max-deleted"
	settingNew        = "unusual-new"
	settingGone       = "unusual-gone"
	settingRate       = "unusual-rate"
	settingFactor     = "unusual-factor"
	// policyPrefix begins the keys of retention policies; CLIENT/JOB follows,
	// where either may be a pattern with * in it.
	policyPrefix = "policy."
	auto         = "auto" // of min-free and max-unused: see their lines below
)

// Setting is one setting of a repository and its value.
type Setting struct {
	Key, Value string
	Default    bool   // Value is what holds when nobody sets it
	Doc        string // one line for people
}

// setting is what is known about a setting: packnback-config(1) lists them.
type setting struct {
	key, value string // value: the default
	doc        string
	check      func(value string) error
}

// Both spans are long enough that a weekend passes before anything is lost for
// good; thresholds are argued for in package retention.
var settingTable = []setting{
	{settingGrace, "72h", "how long a forgotten snapshot stays in the trash", checkDuration},
	{settingMaxDeleted, "60%", "share of a client's snapshots that one prune deletes for good without --yes", checkPercent},
	{settingMaxUnused, auto, "share of packs that may be unused before prune rewrites some; auto: 0.5% of a pack up to 4 GiB in all, 5% of what is beyond", checkMaxUnused},
	{settingMinAge, "7d", "age below which no policy forgets a snapshot", checkDuration},
	{settingMinFree, auto, "free space at which uploads stop; auto: the smaller of 5% of the disk and 10G", checkMinFree},
	{settingFactor, "2.5", "how many times the median week's change makes a week unusual", checkFactor},
	{settingGone, "50%", "share of the previous snapshot that is gone in an unusual one", checkWholePercent},
	{settingNew, "50%", "share of a snapshot that is new in an unusual one", checkWholePercent},
	{settingRate, "10%", "share of a snapshot that may change in a week before unusual-factor looks", checkWholePercent},
}

var policySetting = setting{policyPrefix, "", "retention policy of the clients and jobs that the key's pattern matches", checkPolicy}

// findSetting returns what is known about key, or nil.
func findSetting(key string) *setting {
	if pattern, ok := strings.CutPrefix(key, policyPrefix); ok && checkPattern(pattern) == nil {
		return &policySetting
	}
	for i := range settingTable {
		if settingTable[i].key == key {
			return &settingTable[i]
		}
	}
	return nil
}

func checkPattern(pattern string) error {
	client, job, ok := strings.Cut(pattern, "/")
	for _, part := range []string{client, job} {
		// A star stands for any number of the characters a name may have.
		if err := object.CheckName("pattern", strings.ReplaceAll(part, "*", "x")); err != nil {
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("policy pattern %.80q: want CLIENT/JOB, either with * for any characters", pattern)
	}
	return nil
}

// Settings returns all settings in order of their keys: those with a default,
// and the policies that were set. Safe for concurrent use.
func (r *Repository) Settings() []Setting {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Setting
	for _, s := range settingTable {
		all = append(all, r.cfg.setting(&s, s.key))
	}
	for key := range r.cfg.settings {
		if strings.HasPrefix(key, policyPrefix) {
			all = append(all, r.cfg.setting(&policySetting, key))
		}
	}
	slices.SortFunc(all, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// Setting returns one setting; an unknown key gives CodeInvalid, a policy that
// was not set CodeNotFound.
func (r *Repository) Setting(key string) (Setting, error) {
	s := findSetting(key)
	if s == nil {
		return Setting{}, unknownSetting(key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.cfg.setting(s, key)
	if v.Value == "" {
		return Setting{}, object.CodeNotFound.Errorf("no policy is set for %q; `packnback config list` shows those that are", key[len(policyPrefix):])
	}
	return v, nil
}

func unknownSetting(key string) error {
	return object.CodeInvalid.Errorf("there is no setting %.80q; `packnback config list` shows all", key)
}

func (c *config) setting(s *setting, key string) Setting {
	value, ok := c.settings[key]
	if !ok {
		value = s.value
	}
	return Setting{Key: key, Value: value, Default: !ok, Doc: s.doc}
}

// SetSetting gives a setting a value, durably; the empty value takes it back to
// its default and removes a policy. CodeInvalid says what is wrong with it.
func (r *Repository) SetSetting(ctx context.Context, key, value string) error {
	if err := checkSetting(key, value); err != nil {
		return err
	}
	lock, err := r.lock(ctx, currentLock, exclusive)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	cfg, err := readConfig(r.fs)
	if err != nil {
		return err
	}
	if value == "" {
		delete(cfg.settings, key)
	} else {
		cfg.settings[key] = value
	}
	b := cfg.append(nil)
	if len(b) > maxConfig {
		return object.CodeInvalid.Errorf("too many settings: the config can hold %d bytes", maxConfig)
	}
	if err := r.replaceFile(configName, b); err != nil {
		return err
	}
	r.mu.Lock()
	r.cfg = cfg
	r.mu.Unlock()
	return nil
}

// checkSetting refuses unknown keys and values that make no sense.
func checkSetting(key, value string) error {
	s := findSetting(key)
	if s == nil {
		return unknownSetting(key)
	}
	if value == "" {
		return nil
	}
	err := checkSettingText(value)
	if err == nil {
		err = s.check(value)
	}
	if err != nil {
		return object.CodeInvalid.Errorf("setting %s: %w", key, err)
	}
	return nil
}

// value returns the value of a setting that has a default.
func (r *Repository) value(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.setting(findSetting(key), key).Value
}

// duration returns the value of a setting that is one. A value that an older
// version let through counts as its default.
func (r *Repository) duration(key string) time.Duration {
	d, err := parseDuration(r.value(key))
	if err != nil {
		d, _ = parseDuration(findSetting(key).value)
	}
	return d
}

// percent returns the value of a setting that is a share, in percent.
func (r *Repository) percent(key string) float64 {
	p, err := parsePercent(r.value(key))
	if err != nil {
		p, _ = parsePercent(findSetting(key).value)
	}
	return p
}

// minFree returns how many bytes of a disk of size total uploads leave free.
func (r *Repository) minFree(total uint64) uint64 {
	const share, most = 20, 10 << 30 // 5 %, 10 GiB
	v := r.value(settingMinFree)
	if n, err := parseSize(v); v != auto && err == nil {
		return n
	}
	return min(total/share, most)
}

func checkDuration(v string) error { _, err := parseDuration(v); return err }
func checkPercent(v string) error  { _, err := parsePercent(v); return err }

// checkWholePercent checks a threshold for unusual snapshots: those are counted
// in whole percents, and 0 would be taken for the default.
func checkWholePercent(v string) error {
	p, err := parsePercent(v)
	if err != nil || p < 1 || p != math.Trunc(p) {
		return fmt.Errorf("value %q: want whole percents from 1%% to 100%%", v)
	}
	return nil
}

// checkPolicy refuses, too, a policy that would keep nothing: a policy is removed
// by setting it to nothing.
func checkPolicy(v string) error {
	p, err := retention.ParsePolicy(v)
	if err == nil && p.Empty() {
		err = fmt.Errorf("policy %q keeps nothing", v)
	}
	return err
}

func checkMinFree(v string) error {
	if v == auto {
		return nil
	}
	_, err := parseSize(v)
	return err
}

func checkMaxUnused(v string) error {
	if v == auto {
		return nil
	}
	_, err := parsePercent(v)
	return err
}

func checkFactor(v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 1 && f <= 1000) {
		return fmt.Errorf("value %q: want a number from 1 to 1000", v)
	}
	return nil
}

// parseDuration reads Go's durations with days before them: 7d, 1d12h, 36h.
func parseDuration(s string) (time.Duration, error) {
	const maxDays = 36500
	rest, total := s, time.Duration(0)
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > maxDays {
			return 0, fmt.Errorf("duration %q: want something like 7d, 36h or 1d12h", s)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > maxDays*24*time.Hour {
			return 0, fmt.Errorf("duration %q: want something like 7d, 36h or 1d12h", s)
		}
		total += d
	} else if s == "" {
		return 0, fmt.Errorf("duration %q: want something like 7d, 36h or 1d12h", s)
	}
	return total, nil
}

// parsePercent reads a number from 0 to 100 with a percent sign.
func parsePercent(s string) (float64, error) {
	digits, ok := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(p >= 0 && p <= 100) {
		return 0, fmt.Errorf("value %q: want a share from 0%% to 100%%", s)
	}
	return p, nil
}

// parseSize reads a number of bytes, or one followed by K, M, G or T for
// powers of 1024.
func parseSize(s string) (uint64, error) {
	digits, shift := s, 0
	if s != "" {
		if i := strings.IndexByte("KMGT", s[len(s)-1]); i >= 0 {
			digits, shift = s[:len(s)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("size %q: want something like 500M, 10G or a number of bytes", s)
	}
	return n << shift, nil
}
