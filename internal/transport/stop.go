package transport

import (
	"context"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// stopScript ends a program's group: SIGTERM, up to three seconds, SIGKILL. Its
// arguments are the shell's pid, group, session and start. A pid that is another
// program's by now has another start. Without a session of its own the group may
// be shared, so only the shell's own children are ended with it.
const stopScript = `
if [ "$2" = "" ]; then kill -TERM "$1" 2>/dev/null; exit 0; fi
read -r stat 2>/dev/null <"/proc/$1/stat" || exit 0
pid=$1 group=$2 session=$3 ticks=$4
set -f; set -- ${stat##*) }; set +f
[ "${20}" = "$ticks" ] || exit 0
if [ "$group" = "$session" ]; then targets=-$group; else
  targets=$pid
  for file in /proc/[0-9]*/stat; do
    read -r stat 2>/dev/null <"$file" || continue
    set -f; set -- ${stat##*) }; set +f
    child=${file#/proc/}
    [ "$2" = "$pid" ] && targets="${child%/stat} $targets"
  done
fi
for t in $targets; do kill -TERM "$t" 2>/dev/null; done
alive() { for t in $targets; do kill -0 "$t" 2>/dev/null && return 0; done; return 1; }
for pause in 0.05 0.1 0.2 0.4 0.8 1.5; do
  alive || exit 0
  sleep $pause 2>/dev/null || sleep 1
done
for t in $targets; do kill -KILL "$t" 2>/dev/null; done
exit 0`

// stop ends a program on the host, whatever became of the connection that started
// it.
func (r *Remote) stop(ctx context.Context, user string, p process) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killGrace+stopTime)
	defer cancel()
	result, err := r.run(ctx, check.Command{
		Argv: []string{"sh", "-c", stopScript, "sh", p.pid, p.group, p.session, p.ticks}, Dir: "/", User: user,
	}, false)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("stop pid %s: sh ended with code %d: %s", p.pid, result.Code, strings.TrimSpace(string(result.Stderr)))
	}
	return err
}
