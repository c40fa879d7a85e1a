package service

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// systemd is the driver for units of systemd, by systemctl(1).
type systemd struct {
	tool
	*service
}

// properties are what systemctl show is asked for, as org.freedesktop.systemd1(5)
// describes them.
const properties = "LoadState,ActiveState,SubState,Type,Result,NRestarts,MainPID,ExecMainStartTimestampMonotonic,ExecMainCode,ExecMainStatus,InvocationID,NeedDaemonReload"

func (s *systemd) systemctl(ctx context.Context, words ...string) ([]byte, error) {
	argv := []string{"systemctl"}
	if s.Scope == "user" {
		argv = append(argv, "--user")
	}
	return s.run(ctx, append(append(argv, "--no-pager", "--no-ask-password"), words...)...)
}

func (s *systemd) look(ctx context.Context, u *unit) (status, error) {
	text, err := s.systemctl(ctx, "show", "--property="+properties, "--", u.Name)
	if err != nil {
		return status{}, fmt.Errorf("look at %s: %w", u.Name, err)
	}
	shown := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			shown[name] = value
		}
	}
	st, err := systemdStatus(shown)
	if err != nil {
		return status{}, fmt.Errorf("look at %s: systemctl show: %w", u.Name, err)
	}
	return st, nil
}

// systemdStatus reads a unit's properties. All that were asked for are there, also
// for a unit that systemd does not know.
func systemdStatus(shown map[string]string) (status, error) {
	for name := range strings.SplitSeq(properties, ",") {
		if _, ok := shown[name]; !ok {
			return status{}, fmt.Errorf("%s is missing from the answer", name)
		}
	}
	load, active, sub := shown["LoadState"], shown["ActiveState"], shown["SubState"]
	if load == "not-found" && active == "inactive" {
		return status{phase: missing, why: "is not known to systemd (not-found)"}, nil
	}
	restarts, err := strconv.Atoi(shown["NRestarts"])
	pid, err2 := strconv.Atoi(shown["MainPID"])
	if err != nil || err2 != nil || restarts < 0 || pid < 0 {
		return status{}, fmt.Errorf("NRestarts %.20q or MainPID %.20q is not a number", shown["NRestarts"], shown["MainPID"])
	}
	start := shown["InvocationID"] + "@" + shown["ExecMainStartTimestampMonotonic"]
	runs := instance{ID: "main", Life: start, Start: start, Restarts: restarts}
	st := status{why: fmt.Sprintf("%s (%s)", active, sub), instances: []instance{runs}, process: check.Process{PID: pid}}
	if shown["NeedDaemonReload"] == "yes" {
		st.why += ", its file was changed and not loaded"
	}
	switch active {
	case "active":
		if sub == "exited" {
			return status{}, fmt.Errorf("it counts as active, but its program has ended (Type=%s, RemainAfterExit): only programs that stay can be looked at", shown["Type"])
		}
		st.phase = up
		st.why += fmt.Sprintf(", pid %d, started at %s, %d restarts", pid, shown["ExecMainStartTimestampMonotonic"], restarts)
	case "inactive":
		st.phase, st.instances = down, nil
		st.why = loaded(load)
	case "failed":
		st.phase, st.instances = broken, nil
		st.why += ", " + systemdEnd(shown)
	case "activating", "deactivating", "reloading", "refreshing", "maintenance":
		st.phase = changing
		if sub == "auto-restart" || sub == "auto-restart-queued" {
			st.why += fmt.Sprintf(", %s, %d restarts", systemdEnd(shown), restarts)
		}
	default:
		return status{}, fmt.Errorf("ActiveState %.40q is unknown", active)
	}
	return st, nil
}

// loaded says why a unit's file was not taken, if so: masked, bad-setting, error.
func loaded(load string) string {
	if load == "loaded" {
		return ""
	}
	return load
}

// systemdEnd says how the main program ended; the codes are those of waitid(2).
func systemdEnd(shown map[string]string) string {
	end := "result " + shown["Result"]
	switch shown["ExecMainCode"] {
	case "1":
		return end + ", exit " + shown["ExecMainStatus"]
	case "2", "3":
		return end + ", signal " + shown["ExecMainStatus"]
	}
	return end
}

// act has systemctl do something and wait for the end of its job. A unit whose
// file was changed since would run as it was written before.
func (s *systemd) act(ctx context.Context, verb string, u *unit) error {
	if verb == "start" || verb == "restart" {
		text, err := s.systemctl(ctx, "show", "--property=NeedDaemonReload", "--", u.Name)
		switch {
		case err != nil:
			return fmt.Errorf("look at its file: %w", err)
		case strings.TrimSpace(string(text)) == "NeedDaemonReload=yes":
			return &refused{"would run as its unit file stood before: the file was changed; run systemctl daemon-reload first"}
		}
	}
	_, err := s.systemctl(ctx, verb, "--", u.Name)
	return err
}

func (s *systemd) start(ctx context.Context, u *unit) (string, error) {
	if u.Match != nil {
		strangers, err := processesOf(ctx, s.host, u)
		if err != nil {
			return "", err
		}
		if len(strangers) > 0 {
			return "", &refused{fmt.Sprintf("runs already, but systemd does not know of it (%s)", strings.Join(strangers, ", "))}
		}
	}
	return "started", s.act(ctx, "start", u)
}

func (s *systemd) stop(ctx context.Context, u *unit, st status) (string, []string, error) {
	did := wasStopped
	if !st.stopped() {
		if err := s.act(ctx, "stop", u); err != nil {
			return "", nil, err
		}
		did = "stopped"
	}
	now, err := s.look(ctx, u)
	if err != nil {
		return "", nil, err
	}
	left, err := s.instances(ctx, u, now)
	return did, left, err
}

func (s *systemd) restart(ctx context.Context, u *unit, _ status) (string, error) {
	return "restarted", s.act(ctx, "restart", u)
}

func (s *systemd) reload(ctx context.Context, u *unit, _ status) error {
	return s.act(ctx, "reload", u)
}

// instances are the main program, and with match everything on the host that is
// the unit, whoever started it.
func (s *systemd) instances(ctx context.Context, u *unit, st status) ([]string, error) {
	if u.Match != nil {
		return processesOf(ctx, s.host, u)
	}
	if st.stopped() {
		return nil, nil
	}
	return []string{fmt.Sprint("pid ", st.process.PID)}, nil
}

func (s *systemd) tail(ctx context.Context, u *unit, _ status) []byte {
	which := "--unit="
	if s.Scope == "user" {
		which = "--user-unit="
	}
	text, err := s.run(ctx, "journalctl", which+u.Name, "--lines="+tailLines, "--output=cat", "--no-pager", "--quiet")
	if err != nil {
		return nil
	}
	return text
}
