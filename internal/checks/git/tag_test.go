package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/git"
)

func TestTagCheck(t *testing.T) {
	m := newTemplate(t)
	tagged := m.in(t, func(l lab, _ *check.Env) { l.git(t, "tag", "-a", "-m", "m", "v1.2.3") })
	light := m.in(t, func(l lab, _ *check.Env) { l.git(t, "tag", "v1.2.3") })
	pushed := m.in(t, func(l lab, _ *check.Env) {
		l.git(t, "tag", "-a", "-m", "m", "v1.2.3")
		l.git(t, "push", "-q", "origin", "v1.2.3")
	})
	other := m.in(t, func(l lab, _ *check.Env) {
		l.git(t, "tag", "-a", "-m", "m", "v1.2.3")
		l.git(t, "push", "-q", "origin", "v1.2.3")
		l.git(t, "tag", "-f", "-a", "-m", "another", "v1.2.3")
	})
	checktest.Run(t, git.Tag, []checktest.Case{
		{Name: "there", Params: "v1.2.3", Env: tagged, Want: "pass: tag v1.2.3 is at 1.2.3 (...)"},
		{Name: "missing", Params: "v1.2.3", Env: m.in(t, nil), Want: "fail: there is no tag v1.2.3"},
		{Name: "only below", Params: "v1.2.3", Env: m.in(t, func(l lab, _ *check.Env) { l.git(t, "tag", "v1.2.3/rc") }), Want: "fail: there is no tag v1.2.3"},
		{Name: "elsewhere", Params: "{name: v1.2.2}", Env: tagged, Want: "fail: tag v1.2.2 is at ..., want 1.2.3 (...)"},
		{Name: "previous", Params: "{name: v1.2.2, at: previous}", Env: tagged, Want: "pass: ..."},
		{Name: "not annotated", Params: "v1.2.3", Env: light, Want: "fail: tag v1.2.3 is not annotated"},
		{Name: "need not be annotated", Params: "{name: v1.2.3, annotated: false}", Env: light, Want: "pass: ..."},
		{Name: "remote", Params: "{name: v1.2.3, remote: origin}", Env: pushed, Want: "pass: ..., the same at origin"},
		{Name: "not at the remote", Params: "{name: v1.2.3, remote: origin}", Env: tagged, Want: "fail: origin does not hold the tag v1.2.3"},
		{Name: "another at the remote", Params: "{name: v1.2.3, remote: origin}", Env: other, Want: "fail: origin holds another tag v1.2.3: ..., here it is ..."},
		{Name: "remote gone", Params: "{name: v1.2.3, remote: origin}", Env: m.in(t, func(l lab, _ *check.Env) {
			l.git(t, "tag", "-a", "-m", "m", "v1.2.3")
			if err := os.RemoveAll(l.remote); err != nil {
				t.Fatal(err)
			}
		}), Want: "error: git ls-remote: fatal: ..."},
		{Name: "no repository", Params: "{name: v1, at: main}", Want: "error: git rev-parse main: ...not a git repository..."},
		{Name: "unknown commit", Params: "{name: v1, at: nowhere}", Env: m.in(t, nil), Want: "error: the repository knows no nowhere"},
		{Name: "problem: option", Params: "--force", Want: "problem: ...it begins with -"},
		{Name: "problem: name", Params: "'a b'", Want: "problem: ...is no name of a reference: it holds a space..."},
		{Name: "problem: lock", Params: "a.lock", Want: "problem: ...ends with .lock"},
		{Name: "problem: transport", Params: "{name: v1, remote: 'ext::sh -c touch% pwned'}", Want: "problem: ...transports that run programs are not allowed"},
		{Name: "problem: remote option", Params: "{name: v1, remote: '--upload-pack=x'}", Want: "problem: ...is no remote"},
		{Name: "problem: password", Params: "{name: v1, remote: 'https://me:hunter2@example.com/x'}", Want: "problem: ...holds a password..."},
		{Name: "problem: push of a look", Params: "{name: v1, push: true}", Want: "problem: ...push goes with do: create..."},
		{Name: "problem: signed by whom", Params: "{name: v1, signed: true}", Want: "problem: ...signed and allowed_signers go together"},
	})
}

func TestTagCreate(t *testing.T) {
	m := newTemplate(t)
	var lb lab
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) { lb = l })(env)
	write(t, filepath.Join(env.Dir, ".git/hooks/reference-transaction"), "#!/bin/sh\ntouch "+env.Dir+"/hooked\n")
	if err := os.Chmod(filepath.Join(env.Dir, ".git/hooks/reference-transaction"), 0o700); err != nil {
		t.Fatal(err)
	}
	inst, problems := checktest.Decode(git.Tag, "{name: rollback/prod-1, at: previous, do: create}", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	probe(t, inst, env, check.NotDone)
	done := act(t, inst, env, "pass: tag rollback/prod-1 is at 1.2.2 (...)")
	if got := lb.git(t, "rev-parse", "rollback/prod-1^{commit}"); got != lb.first {
		t.Errorf("tag is at %s, want %s", got, lb.first)
	}
	if _, err := os.Stat(filepath.Join(env.Dir, "hooked")); err == nil {
		t.Error("a hook ran")
	}
	probe(t, inst, env, check.Done)
	object := lb.git(t, "rev-parse", "rollback/prod-1")
	act(t, inst, env, "pass: ...") // again: it stays as it is
	if again := lb.git(t, "rev-parse", "rollback/prod-1"); again != object {
		t.Errorf("repeating made another tag: %s, %s", object, again)
	}
	undo(t, inst, env, done, "pass: tag rollback/prod-1 deleted again")
	probe(t, inst, env, check.NotDone)
	undo(t, inst, env, done, "pass: there is no tag rollback/prod-1 any more")
}

func TestTagIsNeverMoved(t *testing.T) {
	m := newTemplate(t)
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) { l.git(t, "tag", "-a", "-m", "m", "v1.2.3", l.first) })(env)
	inst, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: create}", nil)
	probe(t, inst, env, check.NotDone)
	act(t, inst, env, "fail: tag v1.2.3 is at ..., want 1.2.3 (...)")
	undo(t, inst, env, check.Outcome{}, "fail: tag v1.2.3 was not made by this item and stays")
}

func TestTagThatOnlyTheRemoteHas(t *testing.T) {
	m := newTemplate(t)
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) {
		l.git(t, "tag", "v1.2.3", l.first)
		l.git(t, "push", "-q", "origin", "v1.2.3")
		l.git(t, "tag", "-d", "v1.2.3")
	})(env)
	inst, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: create, push: true}", nil)
	act(t, inst, env, "fail: origin holds a tag v1.2.3 already (...): fetch it first")
}

func TestTagPush(t *testing.T) {
	m := newTemplate(t)
	var lb lab
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) { lb = l })(env)
	create, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: create}", nil)
	both, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: create, push: true}", nil)
	push, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: push}", nil)
	act(t, push, env, "fail: there is no tag v1.2.3")
	done := act(t, create, env, "pass: ...")
	probe(t, both, env, check.Partly)
	probe(t, push, env, check.NotDone)
	act(t, push, env, "pass: tag v1.2.3 is at ..., the same at origin")
	probe(t, push, env, check.Done)
	act(t, both, env, "pass: ...")
	if here, there := lb.git(t, "rev-parse", "v1.2.3"), run(t, lb.remote, "git", "rev-parse", "v1.2.3"); here != there {
		t.Errorf("here %s, there %s", here, there)
	}
	undo(t, create, env, done, "fail: tag v1.2.3 was pushed to origin and stays")
	if both.Traits.Irreversible == "" || create.Traits.Undo == "" || create.Traits.Class != check.Idempotent {
		t.Errorf("traits %+v, %+v", both.Traits, create.Traits)
	}
	if _, err := both.Undoer().Undo(t.Context(), env, done); err == nil {
		t.Error("a pushed tag is taken back")
	}
}

func TestTagPushRefusedByTheRemote(t *testing.T) {
	m := newTemplate(t)
	var lb lab
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) { lb = l })(env)
	hook := filepath.Join(lb.remote, "hooks/update")
	write(t, hook, "#!/bin/sh\necho tags are frozen >&2\nexit 1\n")
	if err := os.Chmod(hook, 0o700); err != nil {
		t.Fatal(err)
	}
	inst, _ := checktest.Decode(git.Tag, "{name: v1.2.3, do: create, push: true}", nil)
	act(t, inst, env, "fail: git push: error: failed to push...")
	probe(t, inst, env, check.Partly)
	if err := os.RemoveAll(lb.remote); err != nil {
		t.Fatal(err)
	}
	if o, err := inst.Runner.Run(t.Context(), env); err == nil {
		t.Errorf("the remote is gone: got %+v", o)
	}
}

func TestTagSigned(t *testing.T) {
	m := newTemplate(t)
	var lb lab
	env := checktest.NewEnv(t)
	m.in(t, func(l lab, _ *check.Env) { lb = l })(env)
	for _, key := range []string{"good", "bad"} {
		run(t, env.Dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	}
	public, err := os.ReadFile(filepath.Join(env.Dir, "good.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(env.Dir, "signers"), "eve@example.com "+string(public))
	sign := func(name, key string) *check.Instance {
		inst, problems := checktest.Decode(git.Tag, "{name: "+name+", do: create, signed: true, allowed_signers: signers, signing_key: "+key+"}", nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return inst
	}
	act(t, sign("v1", "good"), env, "pass: tag v1 is at ...")
	act(t, sign("v2", "bad"), env, "fail: tag v2 is not signed as it should be: the key is not among the allowed signers; it was deleted again")
	act(t, sign("v3", "missing"), env, "fail: ...")
	if left := lb.git(t, "tag", "-l", "v2", "v3"); left != "" {
		t.Errorf("tags left that are not signed as wanted: %s", left)
	}
	lb.git(t, "tag", "-a", "-m", "m", "v4")
	look := func(params, want string) {
		t.Helper()
		inst, problems := checktest.Decode(git.Tag, params, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		act(t, inst, env, want)
	}
	look("{name: v1, signed: true, allowed_signers: signers}", "pass: ...")
	look("{name: v4, signed: true, allowed_signers: signers}", "fail: tag v4 is not signed as it should be: it has no signature")
	look("{name: v1, signed: true, allowed_signers: nowhere}", "error: look at the allowed signers: ...")
	// The signed tag of one release under the name of another.
	lb.git(t, "update-ref", "refs/tags/v6", lb.git(t, "rev-parse", "refs/tags/v1"))
	look("{name: v6, signed: true, allowed_signers: signers}", "fail: tag v6 is another tag's, which calls itself v1")
	// Another kind of signature, which the repository's own program finds good.
	write(t, filepath.Join(env.Dir, "good.sh"), "#!/bin/sh\ncat >/dev/null\nprintf '\\n[GNUPG:] GOODSIG 0123456789ABCDEF Eve\\n[GNUPG:] TRUST_ULTIMATE 0 pgp\\n'\n")
	if err := os.Chmod(filepath.Join(env.Dir, "good.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	lb.git(t, "config", "gpg.program", filepath.Join(env.Dir, "good.sh"))
	text, _, _ := strings.Cut(lb.git(t, "cat-file", "tag", "v4"), "\n\n")
	write(t, filepath.Join(env.Dir, "pgp"), strings.Replace(text, "tag v4", "tag v7", 1)+"\n\nm\n-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n")
	lb.git(t, "update-ref", "refs/tags/v7", lb.git(t, "hash-object", "-t", "tag", "-w", "pgp"))
	look("{name: v7, signed: true, allowed_signers: signers}", "fail: tag v7 is not signed as it should be: its signature is not an SSH key's")
	// A tag whose text was changed after signing.
	forged := strings.Replace(lb.git(t, "cat-file", "tag", "v1"), "v1 at", "v5 at", 1)
	write(t, filepath.Join(env.Dir, "forged"), strings.Replace(forged, "tag v1\n", "tag v5\n", 1)+"\n")
	object := lb.git(t, "hash-object", "-t", "tag", "-w", "forged")
	lb.git(t, "update-ref", "refs/tags/v5", object)
	look("{name: v5, signed: true, allowed_signers: signers}", "fail: tag v5 is not signed as it should be: the signature is wrong")
}

func act(t *testing.T, inst *check.Instance, env *check.Env, want string) check.Outcome {
	t.Helper()
	o, err := inst.Runner.Run(t.Context(), env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
	return o
}

func undo(t *testing.T, inst *check.Instance, env *check.Env, done check.Outcome, want string) {
	t.Helper()
	o, err := inst.Undoer().Undo(t.Context(), env, done)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
}

func probe(t *testing.T, inst *check.Instance, env *check.Env, want check.Progress) {
	t.Helper()
	got, o, err := inst.Prober().Probe(t.Context(), env)
	if err != nil || got != want {
		t.Errorf("probe: got %s (%s), %v, want %s", got, o.Reason, err, want)
	}
}
