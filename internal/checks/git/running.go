package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// revisionLabel is where an image tells the commit that it was built from
// (github.com/opencontainers/image-spec, annotations).
const revisionLabel = "org.opencontainers.image.revision"

// above is how many folders above a process's own are looked into for the file
// with the commit.
const above = 5

// askProcess tells which release a process runs from: its working directory is the
// folder itself, whatever the link to what is live points to by now.
func (s source) askProcess(ctx context.Context, host check.Host) ([]byte, error) {
	text, err := host.ReadFile(ctx, s.PIDFile, maxNote)
	if err != nil {
		return nil, err
	}
	kept, err := check.ParsePIDFile(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.PIDFile, err)
	}
	pid, dir := kept.PID, "/proc/"+strconv.Itoa(kept.PID)
	text, err = host.ReadFile(ctx, dir+"/stat", maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("process %d of %s does not run", pid, s.PIDFile)
	}
	if err != nil {
		return nil, err
	}
	stat, err := check.ParseStat(text)
	if err == nil && stat.Ended() {
		err = fmt.Errorf("process %d of %s has ended", pid, s.PIDFile)
	}
	if err == nil {
		err = kept.OwnPIDFile(ctx, host, s.PIDFile, stat)
	}
	if err != nil {
		return nil, err
	}
	cwd, err := place{host}.run(ctx, "readlink", "--", dir+"/cwd")
	switch {
	case err != nil:
		return nil, err
	case !path.IsAbs(cwd) || strings.HasSuffix(cwd, " (deleted)"):
		return nil, fmt.Errorf("process %d runs in %.200q", pid, cwd)
	}
	return s.askAbove(ctx, host, cwd)
}

// askAbove reads the file with the commit in a folder or in one above it.
func (s source) askAbove(ctx context.Context, host check.Host, cwd string) ([]byte, error) {
	for at, n := cwd, 0; n <= above && at != "/"; at, n = path.Dir(at), n+1 {
		text, err := host.ReadFile(ctx, path.Join(at, s.Stamp), maxNote)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fmt.Errorf("neither %s nor a folder above it holds %s", cwd, s.Stamp)
}

// askContainer reads the label of a running container's image, by docker inspect
// (docs.docker.com/reference/cli/docker/inspect).
func askContainer(ctx context.Context, host check.Host, name string) ([]byte, error) {
	result, err := host.Exec(ctx, check.Command{Argv: []string{
		"docker", "inspect", "--type=container", `--format={{.State.Running}} {{index .Config.Labels "` + revisionLabel + `"}}`, name,
	}, Limit: maxAnswer})
	switch {
	case err != nil:
		return nil, fmt.Errorf("docker inspect: %w", err)
	case result.Code != 0 || result.Signal != "" || result.Truncated:
		return nil, fmt.Errorf("docker inspect: %s", complaint(result))
	}
	runs, label, ok := strings.Cut(strings.TrimSpace(string(result.Stdout)), " ")
	switch {
	case runs != "true":
		return nil, fmt.Errorf("the container %s does not run", name)
	case !ok || label == "" || label == "<no value>":
		return nil, fmt.Errorf("the image of %s has no label %s", name, revisionLabel)
	}
	return []byte(label), nil
}
