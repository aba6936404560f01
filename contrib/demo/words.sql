-- The words that demo people, titles and venues are made of, in English and Japanese. Temporary tables.

create temporary table demo_departments on commit drop as
select name,
       (sum(weight) over (order by name collate "C") - weight) / sum(weight) over ()::double precision as share_from,
       sum(weight) over (order by name collate "C") / sum(weight) over ()::double precision as share_until
from (values
  ('Platform Engineering', 12), ('Product Engineering', 14), ('Quality Engineering', 6), ('Site Reliability', 5),
  ('Data and Analytics', 6), ('Research', 5), ('Information Security', 3), ('Design', 4),
  ('Product Management', 4), ('Customer Support', 12), ('Customer Success', 5), ('Field Sales', 14),
  ('Inside Sales', 8), ('Marketing', 5), ('Finance', 4), ('Legal and Compliance', 2),
  ('People and Culture', 3), ('Facilities', 3), ('東京営業部', 10), ('大阪営業部', 7),
  ('製造技術部', 11), ('品質保証部', 6), ('総務部', 3), ('経営企画室', 1)
) as departments (name, weight);

-- Where events take place.
create temporary table demo_cities on commit drop as
select city, japanese, timezone,
       (sum(share) over (order by city collate "C") - share) / sum(share) over ()::double precision as share_from,
       sum(share) over (order by city collate "C") / sum(share) over ()::double precision as share_until
from (values
  ('Tokyo', '東京本社', 'Asia/Tokyo', 34), ('Osaka', '大阪支社', 'Asia/Tokyo', 10), ('Nagoya', '名古屋工場', 'Asia/Tokyo', 5),
  ('London', null, 'Europe/London', 11), ('Berlin', null, 'Europe/Berlin', 8), ('New York', null, 'America/New_York', 9),
  ('San Francisco', null, 'America/Los_Angeles', 8), ('Bengaluru', null, 'Asia/Kolkata', 6), ('Singapore', null, 'Asia/Singapore', 4),
  ('São Paulo', null, 'America/Sao_Paulo', 2), ('Sydney', null, 'Australia/Sydney', 2), ('Online', null, 'UTC', 1)
) as cities (city, japanese, timezone, share);

create temporary table demo_words on commit drop as
select
  array['Main Hall', 'Room 3A', 'Room 12F-2', 'Auditorium', 'Canteen', 'Training Room B', 'Roof Garden', 'Studio', 'Library',
        'Workshop', 'Town Hall', 'Meeting Room “Maple”'] as rooms,
  array['大会議室', '12階 さくらホール', '3階 会議室A', '講堂', '社員食堂', '研修室B', '屋上庭園', '図書室', '第2体育館', '7階 ラウンジ'] as rooms_japanese,
  array['Haruka', 'Yuto', 'Sakura', 'Ren', 'Aoi', 'Sota', 'Hina', 'Kaito', 'Yui', 'Daiki', 'Mio', 'Takumi', 'Rin', 'Shota', 'Nanami',
        'Kenta'] as given_romanised,
  array['遥', '悠人', '桜', '蓮', '葵', '颯太', '陽菜', '海斗', '結衣', '大輝', '美緒', '拓海', '凛', '翔太', '七海', '健太'] as given_japanese,
  array['Sato', 'Suzuki', 'Takahashi', 'Tanaka', 'Ito', 'Watanabe', 'Yamamoto', 'Nakamura', 'Kobayashi', 'Kato', 'Yoshida', 'Yamada',
        'Sasaki', 'Matsumoto'] as family_romanised,
  array['佐藤', '鈴木', '高橋', '田中', '伊藤', '渡辺', '山本', '中村', '小林', '加藤', '吉田', '山田', '佐々木', '松本'] as family_japanese,
  array['Emma', 'Liam', 'Olivia', 'Noah', 'Priya', 'Arjun', 'Lena', 'Jonas', 'Sofía', 'Mateo', 'Chloé', 'Lucas', 'Ananya', 'Wei',
        'Grace', 'Oscar', 'Zoë', 'Björn', 'Ines', 'Omar'] as given,
  array['Smith', 'Jones', 'Müller', 'Schmidt', 'Patel', 'Sharma', 'García', 'Silva', 'Nguyen', 'Chen', 'O’Brien', 'Johansson', 'Rossi',
        'Kowalska', 'Haddad', 'Taylor', 'Brown', 'Wilson'] as family,
  array['workshop', 'lunch talk', 'introduction', 'hands-on day', 'panel', 'study group', 'open house', 'Q&A'] as formats,
  array['ワークショップ', 'ランチトーク', '入門', 'ハンズオン', 'パネルディスカッション', '勉強会', '見学会', '相談会'] as formats_japanese;

-- What events are about: one row a category, topics in both languages at the same places.
create temporary table demo_topics on commit drop as
select row_number() over (order by category collate "C") as number, category, topics, topics_japanese
from (values
  ('technology', array['C without undefined behaviour', 'PostgreSQL under load', 'Reading flame graphs', 'Event loops explained', 'Rust for C people',
                       'Writing tests that fail', 'Kubernetes from scratch', 'Accessibility audits'],
                 array['未定義動作のないC言語', '高負荷時のPostgreSQL', 'フレームグラフの読み方', 'イベントループのしくみ', 'CプログラマのためのRust', '失敗するテストの書き方',
                       'Kubernetesを一から', 'アクセシビリティ診断']),
  ('training', array['Presenting with few slides', 'Negotiation', 'First-time managers', 'Interviewing', 'Project estimation', 'Feedback that helps'],
               array['少ないスライドで話す', '交渉術', '新任マネージャー', '面接のしかた', 'プロジェクト見積もり', '役に立つフィードバック']),
  ('health', array['Morning yoga', 'Back-friendly desks', 'Flu vaccination', 'Mindful breaks', 'Blood donation', 'Running clinic'],
             array['朝ヨガ', '腰にやさしい机まわり', 'インフルエンザ予防接種', 'マインドフルな休憩', '献血', 'ランニング教室']),
  ('sports', array['Football five-a-side', 'Table tennis evening', 'Climbing', 'Bouldering', 'Company marathon', 'Badminton'],
             array['フットサル', '卓球の夕べ', 'クライミング', 'ボルダリング', '社内マラソン', 'バドミントン']),
  ('culture', array['Tea ceremony', 'Film night', 'Choir rehearsal', 'Photography walk', 'Calligraphy', 'Museum tour'],
              array['茶道体験', '映画の夜', '合唱練習', '写真散歩', '書道', '美術館ツアー']),
  ('language', array['Japanese conversation', 'English for meetings', 'German table', 'Writing clear English', 'Portuguese for travellers'],
               array['日本語会話', '会議の英語', 'ドイツ語の会', 'わかりやすい英文', '旅行のポルトガル語']),
  ('leadership', array['Quarterly all-hands', 'Strategy briefing', 'Meet the board', 'Ask the founders', 'Budget forum'],
                 array['四半期全社会議', '経営戦略説明会', '役員と話す会', '創業者に聞く', '予算フォーラム']),
  ('safety', array['Fire drill', 'First aid', 'Earthquake preparedness', 'Data protection', 'Phishing simulation debrief'],
             array['防火訓練', '救急救命講習', '地震への備え', '個人情報保護', '標的型メール訓練の振り返り']),
  ('community', array['Welcome lunch', 'Beach clean-up', 'Board games', 'Parents’ network', 'Volunteer fair', 'Summer festival'],
                array['新人歓迎ランチ', '海岸清掃', 'ボードゲーム会', '子育てネットワーク', 'ボランティアフェア', '夏祭り']),
  ('sales', array['Product launch', 'Customer story', 'Pricing update', 'Trade fair preparation', 'Partner day'],
            array['新製品発表', 'お客様事例', '価格改定', '展示会準備', 'パートナーデー'])
) as topics (category, topics, topics_japanese);
