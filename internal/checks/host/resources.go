// Package host holds the types that measure a machine's resources and look at its
// ports.
package host

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed host.resources.md
var resourcesDoc string

// Resources is the type host.resources.
var Resources = check.Define[resources](check.Desc{
	Name: "host.resources", Summary: "processors, memory, disks and load are within their limits", Doc: resourcesDoc,
})

// resources compares what Linux hosts have left with what is wanted.
type resources struct {
	Hosts      []string      `param:"hosts" doc:"hosts to measure; this machine when left out" default:""`
	CPUMin     float64       `param:"cpu_min" doc:"least number of processors" default:"0"`
	CPU        *check.Share  `param:"cpu" doc:"most that the processors may be busy, on average over sample" default:""`
	LoadPerCPU *float64      `param:"load_per_cpu" doc:"highest 1-minute load for each processor" default:""`
	MemFree    *check.Share  `param:"mem_free" doc:"least share of memory that must be available" default:""`
	MemUsed    *check.Share  `param:"mem_used" doc:"largest share of memory that may be in use" default:""`
	MemMin     check.Size    `param:"mem_min" doc:"least memory in all" default:"0"`
	Swap       *check.Share  `param:"swap" doc:"largest share of swap that may be in use" default:""`
	DiskFree   *check.Share  `param:"disk_free" doc:"least share of each disk that must be free" default:""`
	DiskBytes  check.Size    `param:"disk_bytes" doc:"least number of bytes that must be free on each disk" default:"0"`
	Inodes     *check.Share  `param:"inodes" doc:"least share of each disk's inodes that must be free" default:""`
	Paths      []string      `param:"paths" doc:"paths whose disks are measured" default:"/"`
	OOMKills   *int          `param:"oom_kills" doc:"how many programs may have been killed for lack of memory since this run first looked" default:""`
	Sample     time.Duration `param:"sample" doc:"how long the processors are measured" default:"1s"`
	Cgroup     string        `param:"cgroup" doc:"control group (below /sys/fs/cgroup) whose limits count; the root's when left out" default:""`
}

// Validate holds the rules between parameters.
func (r *resources) Validate() error {
	disks := r.DiskFree != nil || r.DiskBytes > 0 || r.Inodes != nil
	if !disks && r.CPUMin == 0 && r.CPU == nil && r.LoadPerCPU == nil && r.MemFree == nil && r.MemUsed == nil && r.MemMin == 0 && r.Swap == nil && r.OOMKills == nil {
		return errors.New("needs at least one limit")
	}
	if disks && len(r.Paths) == 0 {
		return errors.New("disk_free, disk_bytes and inodes need paths")
	}
	if r.CPUMin < 0 || (r.LoadPerCPU != nil && *r.LoadPerCPU < 0) || (r.OOMKills != nil && *r.OOMKills < 0) {
		return errors.New("cpu_min, load_per_cpu and oom_kills are not negative")
	}
	for _, s := range []*check.Share{r.CPU, r.MemFree, r.MemUsed, r.Swap, r.DiskFree, r.Inodes} {
		if s != nil && *s > 1 {
			return errors.New("a share is at most 100%")
		}
	}
	if r.sampled() && r.Sample <= 0 {
		return errors.New("sample must be more than 0")
	}
	for _, path := range r.Paths {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("paths: %q does not begin with /", path)
		}
	}
	if strings.Contains(r.Cgroup, "..") {
		return errors.New("cgroup: .. is not allowed")
	}
	return nil
}

// sampled reports whether something is a difference between two looks.
func (r *resources) sampled() bool { return r.CPU != nil || r.OOMKills != nil }

// Traits says that programs run on the hosts.
func (r *resources) Traits() check.Traits {
	target := strings.Join(r.Hosts, ", ")
	if target == "" {
		target = "local"
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "measures " + target, Target: target}
}

// Run measures every host and lists everything that is out of its limit.
func (r *resources) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	first, err := r.measure(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	second := first
	if r.sampled() {
		if err := env.Sleep(ctx, r.Sample); err != nil {
			return check.Outcome{}, err
		}
		if second, err = r.measure(ctx, env); err != nil {
			return check.Outcome{}, err
		}
	}
	j := &judge{resources: r, env: env, facts: map[string]string{}, sets: map[string]string{}}
	for i, before := range first {
		if err := j.host(before, second[i]); err != nil {
			return check.Outcome{Facts: j.facts}, fmt.Errorf("%s: %w", before.name, err)
		}
	}
	outcome := check.Passf("%s", strings.Join(j.fine, ", "))
	if len(j.wrong) > 0 {
		outcome = check.Failf("%s", strings.Join(j.wrong, "; "))
	}
	outcome.Facts, outcome.Sets = j.facts, j.sets
	return outcome, nil
}

func (r *resources) measure(ctx context.Context, env *check.Env) ([]reading, error) {
	hosts := r.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var all []reading
	for _, name := range hosts {
		host, err := env.Host(name)
		if err != nil {
			return nil, err
		}
		m := &meter{host: host, group: r.Cgroup}
		reading, err := m.read(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", host.Name(), err)
		}
		reading.name, reading.at = host.Name(), env.Now()
		all = append(all, reading)
	}
	return all, nil
}

// judge compares readings with the limits.
type judge struct {
	*resources
	env         *check.Env
	facts, sets map[string]string
	fine, wrong []string
}

// note keeps a number and says whether it is within its limit.
func (j *judge) note(host, name string, value float64, shown string, ok bool, want string) {
	key, where := name, ""
	if len(j.Hosts) > 1 {
		key, where = host+"."+name, host+" "
	}
	j.facts[key] = strconv.FormatFloat(value, 'f', -1, 64)
	text := where + strings.ReplaceAll(name, "_", " ") + " " + shown
	if ok {
		j.fine = append(j.fine, text)
	} else {
		j.wrong = append(j.wrong, text+", want "+want)
	}
}

func (j *judge) least(host, name string, value float64, limit *check.Share) {
	if limit != nil {
		j.note(host, name, value, percent(value), value >= float64(*limit), "at least "+percent(float64(*limit)))
	}
}

func (j *judge) most(host, name string, value float64, limit *check.Share) {
	if limit != nil {
		j.note(host, name, value, percent(value), value <= float64(*limit), "at most "+percent(float64(*limit)))
	}
}

func (j *judge) host(before, after reading) error {
	name := after.name
	if j.CPUMin > 0 {
		j.note(name, "cpus", after.cpus, number(after.cpus), after.cpus >= j.CPUMin, "at least "+number(j.CPUMin))
	}
	if j.CPU != nil {
		busy, err := after.busySince(before)
		if err != nil {
			return err
		}
		j.most(name, "cpu", busy, j.CPU)
	}
	if j.LoadPerCPU != nil {
		load := after.load / after.cpus
		j.note(name, "load_per_cpu", load, number(load), load <= *j.LoadPerCPU, "at most "+number(*j.LoadPerCPU))
	}
	if j.MemMin > 0 {
		j.note(name, "mem_bytes", after.memTotal, size(after.memTotal), after.memTotal >= float64(j.MemMin), "at least "+size(float64(j.MemMin)))
	}
	j.least(name, "mem_free", after.memAvailable/after.memTotal, j.MemFree)
	j.most(name, "mem_used", 1-after.memAvailable/after.memTotal, j.MemUsed)
	j.most(name, "swap_used", after.swapUsed, j.Swap)
	if j.OOMKills != nil {
		if err := j.kills(before, after); err != nil {
			return err
		}
	}
	for _, d := range after.disks {
		j.disk(name, d)
	}
	return nil
}

func (j *judge) disk(host string, d disk) {
	j.least(host, "disk_free "+d.path, d.free, j.DiskFree)
	if j.DiskBytes > 0 {
		j.note(host, "disk_bytes "+d.path, d.bytes, size(d.bytes), d.bytes >= float64(j.DiskBytes), "at least "+size(float64(j.DiskBytes)))
	}
	j.least(host, "inodes_free "+d.path, d.inodes, j.Inodes)
}

// kills counts from the run's first look on. The counter only ever grows, except
// that it begins anew when the machine does.
func (j *judge) kills(before, after reading) error {
	fact := "resources.oom_kills." + after.name
	base := before.oomKills
	if text, ok := j.env.Ledger.Fact(fact); ok {
		n, err := finite(text)
		if err != nil {
			return fmt.Errorf("the fact %s: %w", fact, err)
		}
		base = n
	} else {
		j.sets[fact] = number(base)
	}
	if base > after.oomKills {
		base = 0
	}
	kills := after.oomKills - base
	j.note(after.name, "oom_kills", kills, number(kills), kills <= float64(*j.OOMKills), fmt.Sprintf("at most %d", *j.OOMKills))
	return nil
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', 1, 64) + "%" }

func number(n float64) string { return strconv.FormatFloat(float64(int64(n*100+0.5))/100, 'f', -1, 64) }

// size shows bytes in the largest unit that keeps a whole part.
func size(bytes float64) string {
	for _, u := range []struct {
		name   string
		factor float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if bytes >= u.factor {
			return strconv.FormatFloat(bytes/u.factor, 'f', 1, 64) + " " + u.name
		}
	}
	return number(bytes) + " B"
}
