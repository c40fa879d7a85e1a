package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/run"
)

// bindOn binds an item's type, once for each host that on: names. Several hosts
// give a rollout, which holds an item for each of them, so that each has attempts,
// evidence and doubts of its own.
func (b *binder) bindOn(out run.Item, item *checklist.Item, own checklist.Settings) []run.Item {
	hosts := b.namedHosts(own.On.Value)
	if len(hosts) == 0 {
		b.resolve(&out, item, own)
		return []run.Item{out}
	}
	defer func() { b.on = "" }()
	if len(hosts) == 1 {
		b.on = hosts[0]
		b.resolve(&out, item, own)
		b.onlyPrograms(&out, own)
		return []run.Item{out}
	}
	rollout := out
	rollout.Kind, rollout.Type, rollout.Class, rollout.Retry = run.Group, "rollout", run.Pure, run.Retry{}
	if len(item.Children) > 0 {
		b.problem(own.On.Pos, own.On.Width, "on: an item that holds others runs on no hosts itself").Hint = "write on: below the items that it holds"
		return []run.Item{rollout}
	}
	items := []run.Item{rollout}
	before := len(b.problems)
	for _, host := range hosts {
		one := out
		one.ID, one.Text, one.Host, b.on = out.ID+"@"+host, fmt.Sprintf("%s (%s)", out.Text, host), host, host
		b.resolve(&one, item, own)
		b.onlyPrograms(&one, own)
		b.perHost(&one, own)
		items = append(items, one)
		items[0].Children = append(items[0].Children, one.ID)
		if len(b.problems) > before { // the other hosts have the same
			return items
		}
	}
	on := own.On.Value
	items[0].Rollout = &run.Rollout{Kind: items[1].Kind, Batch: batch(on.Batch.Value, items[1].Kind, len(hosts)), MaxFailures: on.MaxFailures}
	items[0].Does = fmt.Sprintf("on %d hosts, %d at a time: %s", len(hosts), items[0].Rollout.Batch, items[1].Does)
	return items
}

func (b *binder) resolve(out *run.Item, item *checklist.Item, own checklist.Settings) {
	b.bindType(out, item, own)
	b.watch(out, own)
}

// namedHosts gives the hosts that on: names, groups taken apart, each once.
func (b *binder) namedHosts(on checklist.On) []string {
	var out []string
	for _, w := range on.Hosts {
		_, known := b.Hosts[w.Value]
		group, several := b.Groups[w.Value]
		switch {
		case several:
			for _, host := range group {
				out = appendNew(out, host)
			}
		case known || w.Value == "local" || w.Value == "localhost":
			out = appendNew(out, w.Value)
		default:
			p := b.problem(w.Pos, w.Width, "on: the environment has no host or group %q", w.Value)
			p.Allowed = slices.Concat([]string{"local"}, slices.Sorted(maps.Keys(b.Groups)), slices.Sorted(maps.Keys(b.Hosts)))
			if near := diag.Nearest(w.Value, p.Allowed); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			} else {
				p.Hint = "hosts: and groups: of the environment in allclear.yaml name them"
			}
		}
	}
	return out
}

// onlyPrograms holds that only what programs resolve runs on hosts.
func (b *binder) onlyPrograms(out *run.Item, own checklist.Settings) {
	switch out.Kind {
	case run.Attest, run.Signoff, run.Group:
		b.problem(own.On.Pos, own.On.Width, "on: is for checks, watches and actions; %s is %s", out.ID, out.Kind)
	}
}

// perHost keeps apart what each host holds and gives back.
func (b *binder) perHost(out *run.Item, own checklist.Settings) {
	for _, resource := range []*string{&out.Holds, &out.Releases} {
		switch *resource {
		case "":
		case run.Maintenance:
			b.problem(own.On.Pos, own.On.Width, "on: maintenance is one thing for the whole environment, not one for each host")
		default:
			*resource += "@" + out.Host
		}
	}
}

// batch gives how many of the hosts are worked on at once.
func batch(written string, kind run.Kind, hosts int) int {
	number, share := strings.CutSuffix(written, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil && kind == run.Action: // nothing is written
		return 1
	case err != nil:
		return hosts
	case share:
		return max(hosts*n/100, 1)
	}
	return min(n, hosts)
}

// hostVars adds what is known about the host that an item runs on.
type hostVars struct {
	check.Vars
	name, address string
	used          bool
}

// Lookup gives ${host.name} and ${host.address}, and every other variable.
func (v *hostVars) Lookup(name string) (string, check.Known) {
	switch name {
	case "host.name":
		v.used = true
		return v.name, check.Set
	case "host.address":
		v.used = true
		if v.address == "" { // this machine
			return "localhost", check.Set
		}
		return v.address, check.Set
	}
	if v.Vars == nil {
		return "", check.Unknown
	}
	return v.Vars.Lookup(name)
}

// Names lists them.
func (v *hostVars) Names() []string {
	own := []string{"host.name", "host.address"}
	if v.Vars == nil {
		return own
	}
	return append(own, v.Vars.Names()...)
}
