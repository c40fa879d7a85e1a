package tracker

import (
	"context"
	"errors"
	"fmt"
)

// mine asks for the id that an issue was given from here.
func (l *linear) mine(ctx context.Context, m mark) ([]ticket, error) {
	found, err := l.issues(ctx, true, quoted(map[string]eq{"id": {m.uuid}}))
	return found.tickets, err
}

// linearDraft is Linear's IssueCreateInput; the id is the caller's to choose.
type linearDraft struct {
	ID          string   `json:"id"`
	TeamID      string   `json:"teamId"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	LabelIDs    []string `json:"labelIds,omitempty"`
	AssigneeID  string   `json:"assigneeId,omitempty"`
}

// create makes an issue with an id of ours, which Linear takes once.
// https://linear.app/developers/graphql#creating-and-editing-issues
func (l *linear) create(ctx context.Context, d draft) (ticket, error) {
	team, err := l.teamID(ctx)
	if err != nil {
		return ticket{}, err
	}
	input := linearDraft{ID: d.mark.uuid, TeamID: team, Title: d.title, Description: d.body}
	if input.LabelIDs, err = l.labelIDs(ctx, d.labels); err != nil {
		return ticket{}, err
	}
	if d.assignee != "" {
		if input.AssigneeID, err = l.userID(ctx, d.assignee); err != nil {
			return ticket{}, err
		}
	}
	made, err := ask[struct {
		Create struct {
			Success bool        `json:"success"`
			Issue   linearIssue `json:"issue"`
		} `json:"issueCreate"`
	}](ctx, l, `mutation($input: IssueCreateInput!) { issueCreate(input: $input) { success issue { `+linearFields+` } } }`, variables{"input": quoted(input)})
	if err == nil && !made.Create.Success {
		err = errors.New("Linear does not say that it created the issue")
	}
	return made.Create.Issue.ticket(), err
}

// nodes are what a question for ids is answered with.
type nodes struct {
	Nodes []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"nodes"`
}

func (l *linear) labelIDs(ctx context.Context, names []string) ([]string, error) {
	var ids []string
	for _, name := range names {
		found, err := ask[struct {
			Labels nodes `json:"issueLabels"`
		}](ctx, l, `query($name: String!, $team: String!) { issueLabels(filter: {name: {eq: $name}, or: [{team: {key: {eq: $team}}}, {team: {null: true}}]}) { nodes { id name } } }`, variables{"name": quoted(name), "team": quoted(l.team)})
		if err != nil {
			return nil, err
		}
		if len(found.Labels.Nodes) == 0 || found.Labels.Nodes[0].ID == "" {
			return nil, refusef("Linear has no label %s in the team %s", name, l.team)
		}
		ids = append(ids, found.Labels.Nodes[0].ID)
	}
	return ids, nil
}

func (l *linear) userID(ctx context.Context, email string) (string, error) {
	found, err := ask[struct {
		Users nodes `json:"users"`
	}](ctx, l, `query($email: String!) { users(filter: {email: {eq: $email}}) { nodes { id name } } }`, variables{"email": quoted(email)})
	if err == nil && (len(found.Users.Nodes) != 1 || found.Users.Nodes[0].ID == "") {
		err = refusef("Linear has no user with the address %s", email)
	}
	if err != nil {
		return "", err
	}
	return found.Users.Nodes[0].ID, nil
}

// end moves an issue to the team's state for what is canceled.
func (l *linear) end(ctx context.Context, t ticket) error {
	states, err := ask[struct {
		States nodes `json:"workflowStates"`
	}](ctx, l, `query($team: String!) { workflowStates(filter: {team: {key: {eq: $team}}, type: {eq: "canceled"}}) { nodes { id name } } }`, variables{"team": quoted(l.team)})
	if err != nil {
		return err
	}
	if len(states.States.Nodes) == 0 || states.States.Nodes[0].ID == "" {
		return fmt.Errorf("the team %s has no state for what is canceled: close %s by hand", l.team, t.ID)
	}
	done, err := ask[struct {
		Update struct {
			Success bool `json:"success"`
		} `json:"issueUpdate"`
	}](ctx, l, `mutation($id: String!, $state: String!) { issueUpdate(id: $id, input: {stateId: $state}) { success } }`, variables{"id": quoted(t.ID), "state": quoted(states.States.Nodes[0].ID)})
	if err == nil && !done.Update.Success {
		err = fmt.Errorf("Linear does not say that it closed %s", t.ID)
	}
	return err
}

func (l *linear) examine(ctx context.Context) (string, error) {
	if _, err := l.teamID(ctx); err != nil {
		return "", err
	}
	return "the token sees the team " + l.team, nil
}
