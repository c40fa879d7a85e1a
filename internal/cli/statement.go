package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// The namespaces keep a signature for one purpose from being one for another.
const (
	signNamespace   = "signoff@allclear.dev"
	attestNamespace = "attest@allclear.dev"
)

// The types of statements.
const (
	signoffStatement     = "allclear.signoff"
	attestationStatement = "allclear.attestation"
)

// statement is what a person signs. Every field is there because without it a
// signature could be used for something else: another run, gate, role, plan,
// policy, content, record or time.
type statement struct {
	V           int    `json:"v"`
	Type        string `json:"type"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
	Run         string `json:"run"`
	Item        string `json:"item"`
	Gate        string `json:"gate"`
	Role        string `json:"role"`
	Person      string `json:"person"`
	Decision    string `json:"decision"`
	Release     string `json:"release"`
	Revision    string `json:"revision"`
	Plan        string `json:"plan_sha256"`
	Policy      string `json:"policy_sha256"`
	Subject     string `json:"subject_sha256"`
	Evidence    string `json:"evidence_sha256"`
	LogSize     int64  `json:"log_size"`
	LogRoot     string `json:"log_root"`
	Comment     string `json:"comment"`
	Nonce       string `json:"nonce"`
	Issued      string `json:"issued"`
	Expires     string `json:"expires"`
}

func (st statement) namespace() string {
	if st.Type == attestationStatement {
		return attestNamespace
	}
	return signNamespace
}

// signStatement makes what a person would sign now for a gate.
func (s *site) signStatement(ctx context.Context, state *run.State, it *run.Item, who, role, comment string, reject bool) (statement, error) {
	role, err := roleFor(s, it, who, role)
	if err != nil {
		return statement{}, err
	}
	if reject && strings.TrimSpace(comment) == "" {
		return statement{}, fail(ExitUsage, "", "--reject needs --comment with the reason")
	}
	st, err := s.statement(ctx, state, it, who, role)
	st.Type, st.Comment, st.Decision, st.Subject = signoffStatement, comment, "approve", state.SubjectOf(it.ID)
	if reject {
		st.Decision = "reject"
	}
	return st, err
}

// statement makes what every statement says.
func (s *site) statement(ctx context.Context, state *run.State, it *run.Item, who, role string) (statement, error) {
	head, err := s.openEnvironment(ctx, s.environment)
	if err != nil {
		return statement{}, err
	}
	defer head.Close()
	checkpoint, err := head.Head(ctx)
	if err != nil {
		return statement{}, fail(ExitStorage, "", "read the record's head: %v", err)
	}
	lasts := s.cfg.Policy.SignatureExpires
	if it.Person != nil && it.Person.Expires > 0 {
		lasts = min(lasts, it.Person.Expires)
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // crypto/rand never fails
	now := time.Now().UTC().Truncate(time.Second)
	return statement{
		V: 1, Project: state.Plan.Project, Environment: state.Plan.Environment,
		Run: state.Run, Item: it.ID, Gate: it.Gate, Role: role, Person: who,
		Release: state.Plan.Release.Version, Revision: state.Plan.Release.Revision,
		Plan: state.PlanDigest, Policy: state.Plan.Policy,
		LogSize: int64(checkpoint.Size), LogRoot: hex.EncodeToString(checkpoint.Root[:]),
		Nonce:  hex.EncodeToString(nonce),
		Issued: now.Format(time.RFC3339), Expires: now.Add(lasts).Format(time.RFC3339),
	}, nil
}

func readStatement(text []byte) (statement, error) {
	var st statement
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&st); err != nil {
		return st, fmt.Errorf("read the statement: %w", err)
	}
	again, err := journal.Canonical(st)
	if err != nil || !bytes.Equal(again, text) {
		return st, errors.New("the statement is not in its canonical form: sign exactly the bytes that --print wrote")
	}
	return st, nil
}

// verifySignature is the door: a sign-off, and the attestation of a person who has
// a key, count only with a signature by a key of that person, over a statement
// that says exactly what the event says.
func (s *site) verifySignature(event run.Event, state *run.State) error {
	keys := s.cfg.People[event.Actor].Keys
	if event.Type == run.Attested && len(keys) == 0 && event.Signature == "" {
		return nil
	}
	st, err := readStatement([]byte(event.Statement))
	if err != nil {
		return err
	}
	kind, evidence := signoffStatement, ""
	if event.Type == run.Attested {
		kind, evidence = attestationStatement, evidenceDigest(event.Artefacts)
	}
	it, _ := state.Of(event.Item)
	for _, c := range []struct{ what, signed, stands string }{
		{"purpose", st.Type, kind}, {"evidence", st.Evidence, evidence},
		{"run", st.Run, state.Run}, {"item", st.Item, event.Item}, {"gate", st.Gate, it.Gate},
		{"environment", st.Environment, state.Plan.Environment}, {"plan", st.Plan, state.PlanDigest},
		{"policy", st.Policy, state.Plan.Policy}, {"release", st.Release, state.Plan.Release.Version},
		{"role", st.Role, event.Role}, {"person", st.Person, event.Actor}, {"decision", st.Decision, event.Verdict},
		{"content", st.Subject, event.Subject}, {"end", st.Expires, event.Until.UTC().Format(time.RFC3339)},
	} {
		if c.signed != c.stands {
			return fmt.Errorf("the signature is for another %s: %q, not %q", c.what, c.signed, c.stands)
		}
	}
	if event.Role != "" && !slices.Contains(s.cfg.RolesOf(event.Actor), event.Role) {
		return fmt.Errorf("%s does not have the role %q", event.Actor, event.Role)
	}
	return verifyText([]byte(event.Statement), []byte(event.Signature), keys, event.Actor, st.namespace())
}

// verifyText checks an armored SSH signature against a person's keys.
func verifyText(text, armored []byte, keys []string, person, namespace string) error {
	signature, err := sshsig.Unarmor(armored)
	if err != nil {
		return fmt.Errorf("read the signature: %w", err)
	}
	for _, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || !bytes.Equal(key.Marshal(), signature.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(text), signature, key, signature.HashAlgorithm, namespace); err != nil {
			return fmt.Errorf("the signature does not fit the statement: %w", err)
		}
		return nil
	}
	return fmt.Errorf("the signature was made with a key that is not one of %s's in allclear.yaml", person)
}

// evidenceDigest is one digest over the files of a statement's evidence.
func evidenceDigest(artefacts []run.Artefact) string {
	var digests []string
	for _, a := range artefacts {
		digests = append(digests, a.SHA256)
	}
	slices.Sort(digests)
	return digestOf([]byte(strings.Join(digests, "\n")))
}
