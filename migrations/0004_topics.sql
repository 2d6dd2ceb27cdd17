-- Topic patterns, as a topic exchange understands them.

-- A regular expression, so that PostgreSQL can look up what it begins with in an index. PostgreSQL matches one that
-- captures nothing with an automaton, which goes over the key once and never back.
--
-- `#` in the middle takes the dot after it along, and runs of `*` and `#` are put in one order, the `*` first: that
-- leaves nothing to be tried in two ways. A key of one empty word cannot be written, so where a single `*` or empty word
-- is all that is asked for, the empty key, which has no words, has to be kept out.
--
-- AMQP's keys end at 255 bytes. A pattern that could only match much longer ones matches nothing, instead of growing
-- into an expression that PostgreSQL would refuse.
create function audit.topic_regex(pattern text) returns text
language plpgsql immutable strict parallel safe cost 1000
set search_path = pg_catalog, pg_temp
as $$
declare
    longest  constant integer := 1000;
    word     text;
    parts    text[] := '{}';
    dot      text := '';
    words    integer := 0;
    shortest integer := -1;
    wordless boolean := true;
    many     boolean := false;
begin
    foreach word in array string_to_array(pattern, '.') loop
        if word = '#' then
            many := true;
            continue;
        end if;
        words := words + 1;
        shortest := shortest + 1;
        if word = '*' then
            parts := parts || (dot || '[^.]*');
        else
            wordless := wordless and word = '';
            shortest := shortest + length(word);
            parts := parts || (dot || case when many then '(?:.*\.)?' else '' end
                               || regexp_replace(word, '[][\\*+?(){}|^$]', '\\\&', 'g'));
            many := false;
        end if;
        dot := '\.';
        if shortest > longest then
            return '^(?!$)$';
        end if;
    end loop;
    return '^' || case when words = 1 and wordless then '(?!$)' else '' end || array_to_string(parts, '')
               || case when not many then '$' when words > 0 then '(?:\..*)?$' else '' end;
end
$$;
comment on function audit.topic_regex(text) is 'The regular expression that matches the routing keys which a topic exchange would match with this pattern.';

-- One strict operator and no settings of its own: so it is taken apart while a query is planned, and the pattern is a
-- regular expression by then.
create function audit.topic_matches(key text, pattern text) returns boolean
language sql immutable strict parallel safe
return key operator(pg_catalog.~) audit.topic_regex(pattern);
comment on function audit.topic_matches(text, text) is 'Whether a topic exchange would route a message of that key by a binding of that pattern: words between dots, * is exactly one word, # any number of words, none included.';
