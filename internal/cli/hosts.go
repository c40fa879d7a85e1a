package cli

import (
	"context"
	"maps"
	"slices"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/transport"
)

// hosts gives the hosts of an environment as they are reached.
func hosts(named map[string]config.Host) map[string]transport.Spec {
	specs := map[string]transport.Spec{}
	for name, h := range named {
		spec := transport.Spec{Dir: h.Dir}
		switch {
		case h.SSH != "":
			spec.SSH = &transport.SSH{To: h.SSH, Port: h.Port, Identity: h.Identity, Jump: h.Jump, Config: h.Config}
		case h.Docker != "":
			spec.Docker = &transport.Docker{Container: h.Docker}
		case h.Compose != nil:
			spec.Compose = &transport.Compose{Project: h.Compose.Project, Files: h.Compose.Files, Service: h.Compose.Service, Index: h.Compose.Index}
		case h.Kubectl != nil:
			k := h.Kubectl
			spec.Kubectl = &transport.Kubectl{Context: k.Context, Namespace: k.Namespace, Pod: k.Pod, Selector: k.Selector, Container: k.Container}
		}
		specs[name] = spec
	}
	return specs
}

// hostTime bounds how long one host is waited for when it is only looked at.
const hostTime = 20 * time.Second

// examineHosts tells which hosts can be reached and run a program.
func (o *options) examineHosts(ctx context.Context, s *site) []examined {
	world := transport.World{Local: &transport.Local{Dir: s.root}, Specs: hosts(s.env.Hosts)}
	var out []examined
	for _, name := range slices.Sorted(maps.Keys(world.Specs)) {
		x := examined{Item: "host " + name, Ready: ready, Found: "can be reached and runs programs"}
		ctx, cancel := context.WithTimeout(ctx, hostTime)
		host, err := world.Host(name)
		if err == nil {
			_, err = host.Exec(ctx, check.Command{Argv: []string{"true"}})
		}
		cancel()
		if err != nil {
			x.Ready, x.Found, x.Fix, x.Targets = lacks, "cannot be used", err.Error(), []string{"host " + name}
		}
		out = append(out, x)
	}
	return out
}
