package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxTable bounds /proc/net/tcp and a ruleset, in bytes.
const maxTable = 16 << 20

// listener is a socket that waits for connections.
type listener struct {
	at netip.AddrPort
	// user is the number of the user it belongs to.
	user string
}

// listeners compares what listens on a host, beyond its loopback addresses, with
// what may. It reads the kernel's own table (proc_net(5)), which needs no program
// and no privileges.
func (p *ports) listeners(ctx context.Context, v *verdicts, host check.Host) error {
	var all []listener
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := host.ReadFile(ctx, file, maxTable)
		if errors.Is(err, fs.ErrNotExist) && file == "/proc/net/tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
		found, err := parseTable(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, found...)
	}
	var shown, inner []string
	strangers := 0
	for _, l := range all {
		text := l.at.String() + " (user " + l.user + ")"
		if l.at.Addr().IsLoopback() {
			inner = append(inner, text)
			continue
		}
		shown = append(shown, text)
		if !slices.ContainsFunc(p.Listen, func(r listenRule) bool { return r.allows(l.at) }) {
			strangers++
			v.wrong = append(v.wrong, fmt.Sprintf("%s: %s listens, which is not allowed", host.Name(), text))
		}
	}
	v.facts[host.Name()+" listens"], v.facts[host.Name()+" listens within"] = strings.Join(shown, ", "), strings.Join(inner, ", ")
	if strangers == 0 {
		v.fine = append(v.fine, fmt.Sprintf("%s: %d sockets listen beyond loopback, all allowed", host.Name(), len(shown)))
	}
	return nil
}

// parseTable reads /proc/net/tcp or tcp6: a line of headings, then a socket each
// line, with local address, state and user in the columns 2, 4 and 8. 0A is the
// state of a socket that listens.
func parseTable(text []byte) ([]listener, error) {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if head := strings.Fields(lines[0]); len(head) < 4 || head[1] != "local_address" {
		return nil, fmt.Errorf("the headings %.80q are not those of a table of sockets", lines[0])
	}
	var all []listener
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			return nil, fmt.Errorf("the line %.80q is malformed", line)
		}
		if fields[3] != "0A" {
			continue
		}
		at, err := parseSocket(fields[1])
		if err != nil {
			return nil, err
		}
		all = append(all, listener{at: at, user: fields[7]})
	}
	slices.SortFunc(all, func(a, b listener) int { return a.at.Compare(b.at) })
	return all, nil
}

// parseSocket reads an address in hexadecimal digits, in words of four bytes, the
// least byte first.
func parseSocket(text string) (netip.AddrPort, error) {
	hexAddr, hexPort, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(hexAddr)
	port, err2 := strconv.ParseUint(hexPort, 16, 16)
	if err != nil || err2 != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("the address %.60q is malformed", text)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// ruleset keeps the firewall's rules as evidence and holds that there are some.
func (p *ports) ruleset(ctx context.Context, env *check.Env, v *verdicts, host check.Host) error {
	argv := map[string][]string{"nft": {"nft", "-j", "list", "ruleset"}, "ufw": {"ufw", "status", "verbose"}}[p.Ruleset]
	result, err := host.Exec(ctx, check.Command{Argv: argv, Dir: "/", Env: []string{"LC_ALL=C"}, Limit: maxTable})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.Ruleset, err)
	case result.Code != 0 || result.Signal != "" || result.Truncated:
		return fmt.Errorf("%s: exit %d %s: %.200s", p.Ruleset, result.Code, result.Signal, bytes.TrimSpace(result.Stderr))
	}
	rules, found := result.Stdout, strings.Contains(string(result.Stdout), "Status: active")
	if p.Ruleset == "nft" {
		if rules, found, err = steady(result.Stdout); err != nil {
			return err
		}
	} else if !found && !strings.Contains(string(result.Stdout), "Status: inactive") {
		return fmt.Errorf("ufw: %.80q tells no status", result.Stdout)
	}
	kept, err := env.Store(p.Ruleset+"-"+host.Name()+".txt", bytes.NewReader(rules))
	if err != nil {
		return fmt.Errorf("keep the rules: %w", err)
	}
	v.kept = append(v.kept, kept)
	sum := sha256.Sum256(rules)
	digest := hex.EncodeToString(sum[:])
	v.facts[host.Name()+" ruleset sha256"] = digest
	switch {
	case !found:
		v.wrong = append(v.wrong, fmt.Sprintf("%s: %s is off or has no rules", host.Name(), p.Ruleset))
	case p.SHA256 != "" && p.SHA256 != digest:
		v.wrong = append(v.wrong, fmt.Sprintf("%s: the rules have sha256 %s, want %s", host.Name(), digest, p.SHA256))
	default:
		v.fine = append(v.fine, fmt.Sprintf("%s: %s's rules have sha256 %s…", host.Name(), p.Ruleset, digest[:12]))
	}
	return nil
}

// steady gives nft's rules without what changes by itself: counters, handles and
// nft's own version (libnftables-json(5)). It tells whether a rule is among them.
func steady(text []byte) ([]byte, bool, error) {
	var doc struct {
		Objects []map[string]json.RawMessage `json:"nftables"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Objects == nil {
		return nil, false, fmt.Errorf("nft: no list of rules: %w", errors.Join(err, errors.New("nftables is missing")))
	}
	var out bytes.Buffer
	rules := false
	for _, object := range doc.Objects {
		for kind, raw := range object {
			if kind == "metainfo" {
				continue
			}
			rules = rules || kind == "rule"
			line, err := calm(kind, raw)
			if err != nil {
				return nil, false, fmt.Errorf("nft: %w", err)
			}
			fmt.Fprintf(&out, "%s %s\n", kind, line)
		}
	}
	return out.Bytes(), rules, nil
}

// calm removes from a value of a kind what changes by itself.
func calm(kind string, raw json.RawMessage) (json.RawMessage, error) {
	var err error
	switch raw = bytes.TrimSpace(raw); raw[0] { // a value that was decoded is not empty
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i := range list {
			if list[i], err = calm("", list[i]); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	case '{':
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, err
		}
		for _, name := range append([]string{"handle"}, map[string][]string{"counter": {"packets", "bytes"}, "quota": {"used"}}[kind]...) {
			delete(fields, name)
		}
		for name := range fields {
			if fields[name], err = calm(name, fields[name]); err != nil {
				return nil, err
			}
		}
		return json.Marshal(fields)
	}
	return raw, nil
}
