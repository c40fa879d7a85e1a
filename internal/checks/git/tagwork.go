package git

import (
	"context"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// keyLine stands in the message of every tag that is created here, so that it is
// known again after a crash.
const keyLine = "Allclear-Attempt: "

// state is what there is of a tag: the object and the commit it leads to, here
// and at the remote. Empty names mean that there is none.
type state struct {
	object, commit, remote string
	annotated              bool
	// named is what an annotated tag calls itself.
	named string
	// unsigned says why the signature is none that counts; empty when it does.
	unsigned string
	// key names the attempt that made the tag.
	key string
}

func (s state) facts(w *work) map[string]string {
	facts := map[string]string{"tag": w.Name, "object": s.object, "commit": s.commit, "expected": w.want.sha}
	if w.tag.remote() != "" {
		facts["remote"] = s.remote
	}
	return facts
}

// state reads all of it; nothing is changed.
func (w *work) state(ctx context.Context) (state, error) {
	var s state
	ref := "refs/tags/" + w.Name
	listed, err := w.run(ctx, "for-each-ref", "--format=%(objectname) %(objecttype) %(*objectname)", "--", ref)
	if err != nil {
		return s, err
	}
	// A pattern also matches what lies below it ("v1" and "v1/a"): the exact name
	// is resolved by itself.
	if listed != "" {
		if s.commit, err = w.commit(ctx, ref); err != nil {
			return s, err
		}
	}
	if s.commit != "" {
		if s, err = w.local(ctx, s, ref); err != nil {
			return s, err
		}
	}
	if w.tag.remote() == "" {
		return s, nil
	}
	s.remote, err = w.at(ctx, w.tag.remote())
	return s, err
}

func (w *work) local(ctx context.Context, s state, ref string) (state, error) {
	var err error
	if s.object, err = w.run(ctx, "rev-parse", "--verify", "--end-of-options", ref); err != nil {
		return s, err
	}
	kind, err := w.run(ctx, "cat-file", "-t", s.object)
	if err != nil {
		return s, err
	}
	if s.annotated = kind == "tag"; !s.annotated {
		s.unsigned = "it is not annotated"
		return s, nil
	}
	text, err := w.run(ctx, "cat-file", "tag", s.object)
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(text) {
		if key, ok := strings.CutPrefix(line, keyLine); ok {
			s.key = strings.TrimSpace(key)
		}
	}
	s.named = calledIn(text)
	if w.Signed {
		s.unsigned = "its signature is not an SSH key's"
		// git would ask another program about another kind of signature, and that
		// program knows nothing of the allowed signers.
		if strings.Contains(text, "\n-----BEGIN SSH SIGNATURE-----\n") || !strings.Contains(text, "\n-----BEGIN ") {
			s.unsigned, err = w.verify(ctx, s.object)
		}
	}
	return s, err
}

// calledIn gives the name that a tag's own text tells, which its signature covers
// (git-mktag(1): object, type, tag, tagger, an empty line, the message).
func calledIn(text string) string {
	head, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		if name, found := strings.CutPrefix(line, "tag "); found {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// verify asks git about the signature. A signature that is missing, wrong or by
// somebody who may not sign is an answer; a verifier that cannot run is none.
func (w *work) verify(ctx context.Context, object string) (string, error) {
	result, err := w.try(ctx, "-c", "gpg.format=ssh", "-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.ssh.allowedSignersFile="+w.signers, "verify-tag", object)
	if err != nil {
		return "", err
	}
	said := string(result.Stderr) + string(result.Stdout)
	switch {
	case result.Code == 0:
		return "", nil
	case strings.Contains(said, "no signature found"):
		return "it has no signature", nil
	case strings.Contains(said, "No principal matched"):
		return "the key is not among the allowed signers", nil
	case strings.Contains(said, "Could not verify signature"), strings.Contains(said, "Signature verification failed"), strings.Contains(said, "incorrect signature"):
		return "the signature is wrong", nil
	}
	return "", fmt.Errorf("git verify-tag: %s", complaint(result))
}

// at gives the object that a remote holds under the tag's name; empty when it
// holds none.
func (w *work) at(ctx context.Context, remote string) (string, error) {
	ref := "refs/tags/" + w.Name
	text, err := w.run(ctx, "ls-remote", "--", remote, ref)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		sha, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || !isSHA(sha) {
			return "", fmt.Errorf("git ls-remote: %.60q is malformed", line)
		}
		if name == ref {
			return sha, nil
		}
	}
	return "", nil
}

// pushed names the first remote that holds the tag, whatever it points to there.
func (w *work) pushed(ctx context.Context) (string, error) {
	list, err := w.run(ctx, "remote")
	if err != nil {
		return "", err
	}
	for _, remote := range strings.Fields(list) {
		sha, err := w.at(ctx, remote)
		if err != nil || sha != "" {
			return remote, err
		}
	}
	return "", nil
}

// create makes the tag, unless it is there as wanted. One that is elsewhere, here
// or at the remote, is never moved.
func (w *work) create(ctx context.Context, s state) (check.Outcome, error) {
	if s.object == "" && s.remote != "" {
		return check.Failf("%s holds a tag %s already (%s): fetch it first", w.tag.remote(), w.Name, short(s.remote)), nil
	}
	if s.object == "" {
		if miss, err := w.make(ctx); err != nil || miss != "" {
			return check.Failf("%s", miss), err
		}
		var err error
		if s, err = w.state(ctx); err != nil {
			return check.Outcome{}, err
		}
		// git tag 2.39 ends with 0 although ssh-keygen found no key to sign with.
		if miss := w.missed(s); miss != "" && s.object != "" {
			_, err := w.run(ctx, "update-ref", "-d", "refs/tags/"+w.Name, s.object)
			return check.Failf("%s; it was deleted again", miss), err
		}
	}
	outcome := w.judge(s, false)
	if outcome.Verdict == check.Fail || !w.Push {
		return outcome, nil
	}
	return w.push(ctx, s)
}

// make runs git tag and says how it failed.
func (w *work) make(ctx context.Context) (string, error) {
	args := []string{"tag"}
	if w.Annotated {
		message := w.Message
		if message == "" {
			message = w.Name + " at " + w.want.String()
		}
		if w.Signed {
			args = []string{"-c", "gpg.format=ssh", "tag", "--sign"}
			if w.SigningKey != "" {
				args = append([]string{"-c", "user.signingkey=" + w.inCheckout(w.SigningKey)}, args...)
			}
		} else {
			args = append(args, "--annotate", "--no-sign")
		}
		args = append(args, "--cleanup=verbatim", "--message="+message+"\n\n"+keyLine+w.key+"\n")
	}
	result, err := w.try(ctx, append(args, "--", w.Name, w.want.sha)...)
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return "git tag: " + complaint(result), nil
	}
	return "", nil
}

// push sends the tag without force and then asks the remote what it holds.
func (w *work) push(ctx context.Context, s state) (check.Outcome, error) {
	if miss := w.missed(s); miss != "" {
		return check.Failf("%s", miss), nil
	}
	if s.remote != "" { // either right already, or another one that stays
		return w.judge(s, true), nil
	}
	ref := "refs/tags/" + w.Name
	result, err := w.try(ctx, "push", "--porcelain", "--no-verify", "--", w.tag.remote(), ref+":"+ref)
	if err != nil {
		return check.Outcome{}, err
	}
	if s.remote, err = w.at(ctx, w.tag.remote()); err != nil {
		return check.Outcome{}, fmt.Errorf("after the push: %w", err)
	}
	outcome := w.judge(s, true)
	if outcome.Verdict == check.Fail && result.Code != 0 {
		outcome.Reason = "git push: " + complaint(result)
	}
	return outcome, nil
}
